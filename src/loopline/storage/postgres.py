"""PostgreSQL through psycopg 3."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import sqlalchemy as sa

from loopline.errors import Unavailable

# Where ANALYZE keeps samples of values.
_STATISTICS = ("pg_statistic", "pg_statistic_ext_data")
_OTHER_VERSION = "Its version must be the server's or later, and the user must own the tables."
# READ COMMITTED, the default, would show each statement of one reader another state.
READING = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


# A network that drops packets says nothing: without these an answer is waited for until TCP tries again, minutes after the network is back,
# and the server holds the locks of whoever is gone. In milliseconds and seconds; what the URL says goes first.
_CLIENT = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
_OPERATIONAL = ("psycopg", "OperationalError")
_GONE = ("08", "57P")  # the classes of connections that broke, and of a server that stops or is not ready yet
_SERVER = {
    "tcp_user_timeout": 10_000,
    "tcp_keepalives_idle": 5,
    "tcp_keepalives_interval": 2,
    "tcp_keepalives_count": 3,
}


def engine(url: str, *, durable: bool) -> sa.Engine:
    """An engine whose sessions speak UTC, and notice within ten seconds or so that the network is gone; `durable=False` commits
    asynchronously.
    """
    if find_spec("psycopg") is None:
        raise Unavailable(
            "database.driver_missing", "PostgreSQL needs psycopg", remedy="pip install 'loopline[postgres]'"
        )
    told = {"timezone": "UTC", "synchronous_commit": "on" if durable else "off", **_SERVER}
    parsed = sa.make_url(url).set(drivername="postgresql+psycopg")
    own = {name: value for name, value in _CLIENT.items() if name not in parsed.query}
    options = " ".join(f"-c {name}={value}" for name, value in told.items())
    return sa.create_engine(parsed, connect_args={**own, "options": options}, pool_pre_ping=True)


def failed(error: BaseException | None) -> Unavailable | None:
    """What is told where the server cannot be reached, went away or is starting; None for any other error."""
    driver = any((one.__module__, one.__name__) == _OPERATIONAL for one in type(error).__mro__)
    state = getattr(error, "sqlstate", None)
    if not driver or not (state is None or str(state).startswith(_GONE)):
        return None
    return Unavailable(
        "database.unreachable",
        f"PostgreSQL cannot be reached: {error}",
        remedy="See that the server runs and that the network lets this machine through; it is tried again when next used.",
    )


def forget(engine: sa.Engine) -> str:
    """VACUUM FULL and ANALYZE, table by table, so that dead rows leave the tables' files and samples of their values the planner's
    statistics; then the statistics themselves. Of tables it may not do so for it says so.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        names = sa.inspect(connection).get_table_names()
        refused = [name for name in [*names, *_STATISTICS] if not _written_anew(connection, name)]
    kept = "PostgreSQL's own log, replicas and backups keep old rows until they are recycled"
    if refused:
        return f"VACUUM was not possible for {', '.join(refused)}: their dead rows stay until someone who may runs it; {kept}"
    return f"VACUUM FULL took dead rows out of the files of tables and of statistics; {kept}"


def _written_anew(connection: sa.Connection, name: str) -> bool:
    """Whether it was done. PostgreSQL only warns where the role may not, and leaves the file as it is."""
    quoted = connection.dialect.identifier_preparer.quote(name)
    analyze = "" if name in _STATISTICS else ", analyze"
    before = _file_of(connection, quoted)
    try:
        connection.exec_driver_sql(f"vacuum (full{analyze}) {quoted}")
    except sa.exc.DBAPIError:
        return False
    return _file_of(connection, quoted) != before


def _file_of(connection: sa.Connection, quoted: str) -> str | None:
    return connection.execute(sa.text("select pg_relation_filepath(:name)"), {"name": quoted}).scalar()


@contextmanager
def still(engine: sa.Engine) -> Iterator[None]:
    """Every table is locked against writers, whom this makes wait; readers go on."""
    with engine.connect() as connection, connection.begin():
        quote = connection.dialect.identifier_preparer.quote
        names = [quote(name) for name in sa.inspect(connection).get_table_names()]
        if names:
            connection.exec_driver_sql(f"lock table {', '.join(names)} in share mode")
        yield


def dump(url: sa.URL, path: Path) -> None:
    """What `pg_dump` writes, in its custom format, durable."""
    problem = _client("pg_dump", url, ["--format=custom", "--no-owner", "--no-privileges", f"--file={path}"])
    if problem:
        raise Unavailable("database.dump_failed", f"pg_dump failed: {problem}", remedy=_OTHER_VERSION)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def fill(url: sa.URL, path: Path) -> None:
    """Have `pg_restore` put it in, in one transaction."""
    options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", str(path)]
    problem = _client("pg_restore", url, options)
    if problem:
        raise Unavailable("database.restore_failed", f"pg_restore failed: {problem}", remedy=_OTHER_VERSION)


def _client(program: str, url: sa.URL, options: list[str]) -> str | None:
    """What it complained of, if it failed."""
    found = shutil.which(program)
    if found is None:
        raise Unavailable(
            "database.client_missing",
            f"{program} is not installed",
            remedy="Install PostgreSQL's client programs, of the server's version or later.",
        )
    # The password goes through the environment: a command line is seen by every user of the machine.
    plain = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    secret = {"PGPASSWORD": str(url.password)} if url.password else {}
    done = subprocess.run(  # noqa: S603 - PostgreSQL's own program
        [found, f"--dbname={plain}", *options],
        env={**os.environ, **secret}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stderr.strip() or f"exit code {done.returncode}" if done.returncode else None
