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
