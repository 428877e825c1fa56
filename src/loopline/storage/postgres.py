"""PostgreSQL through psycopg 3."""

from importlib.util import find_spec

import sqlalchemy as sa

from loopline.errors import Unavailable

# READ COMMITTED, the default, would show each statement of one reader another state.
READING = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


def engine(url: str, *, durable: bool) -> sa.Engine:
    """An engine whose sessions speak UTC; `durable=False` commits asynchronously."""
    if find_spec("psycopg") is None:
        raise Unavailable(
            "database.driver_missing", "PostgreSQL needs psycopg", remedy="pip install 'loopline[postgres]'"
        )
    commit = "on" if durable else "off"
    return sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"),
        connect_args={"options": f"-c timezone=UTC -c synchronous_commit={commit}"},
        pool_pre_ping=True,
    )


def forget(engine: sa.Engine) -> str:
    """VACUUM FULL, table by table, so that dead rows leave the tables' files; of tables it may not do so for it says so."""
    refused = []
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for name in sa.inspect(connection).get_table_names():
            try:
                connection.exec_driver_sql(f"vacuum (full) {engine.dialect.identifier_preparer.quote(name)}")
            except sa.exc.DBAPIError:
                refused.append(name)
    kept = "PostgreSQL's own log, replicas and backups keep old rows until they are recycled"
    if refused:
        return f"VACUUM was not possible for {', '.join(refused)}: their dead rows stay until someone who may runs it; {kept}"
    return f"VACUUM FULL took dead rows out of the tables' files; {kept}"
