"""Fixtures for the whole tree: a fresh database per test, on SQLite and on a real PostgreSQL."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

import pytest

from loopline.storage.columns import metadata
from loopline.storage.database import Database
from loopline.testing.postgres import running_postgres, scratch_database
from loopline.testing.s3 import S3, running_s3

_NUMBERS = count(1)

# Images often set this. Without bytecode, each of the thousand processes that the tests start would compile all it imports again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A database of its own for each test would cost a tenth of a second. What a failed test left open is ended first.
_FORGET = """
DO $$
DECLARE
    name text;
    filled boolean;
BEGIN
    PERFORM pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend';
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE 'SELECT EXISTS (SELECT 1 FROM ' || quote_ident(name) || ')' INTO filled;
        IF filled THEN
            EXECUTE 'TRUNCATE ' || quote_ident(name) || ' RESTART IDENTITY CASCADE';
        END IF;
    END LOOP;
END $$
"""


# Files of few tests that take long begin first: else one process does them alone while the other has nothing left.
_LONG = ("tests/docs/", "tests/e2e/", "tests/faults/", "tests/executors/", "tests/cli/", "tests/app/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long goes first; what is `heavy` runs only where it is asked for (`make faults`)."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))
    if os.environ.get("LOOPLINE_FAULTS"):
        return
    skip = pytest.mark.skip(reason="runs with `make faults`")
    for item in items:
        if item.get_closest_marker("heavy"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server whose user may create databases: LOOPLINE_TEST_POSTGRES_URL, or one started for this run."""
    given = os.environ.get("LOOPLINE_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with running_postgres() as url:
        yield url


@pytest.fixture(scope="session")
def _s3() -> Iterator[S3]:
    with running_s3() as server:
        yield server


@pytest.fixture
def s3(_s3: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """A server that speaks S3, which this process and those that it starts ask."""
    for name, value in _s3.environment.items():
        monkeypatch.setenv(name, value)
    return _s3


@pytest.fixture
def bucket(s3: S3) -> str:
    """The URL of a new bucket."""
    return s3.make_bucket(f"bucket-{os.getpid()}-{next(_NUMBERS)}")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new database with every table, of each kind in turn; it is gone after the test."""
    if request.param == "sqlite":
        path = tmp_path / "loopline.db"
        shutil.copy(request.getfixturevalue("_sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    with_tables = request.getfixturevalue("_postgres_with_tables")
    yield with_tables.engine.url.render_as_string(hide_password=False)
    with with_tables.transaction() as tx:
        tx.exec_driver_sql(_FORGET)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A new database with every table, on SQLite and then on PostgreSQL."""
    opened = Database.open(database_url, durable=False)
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def make_empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """Makes new databases without any table, as many as one asks for, on SQLite and then on PostgreSQL."""
    with ExitStack() as made:

        def make() -> Database:
            url = f"sqlite:///{tmp_path / _name()}.db"
            if request.param == "postgresql":
                url = made.enter_context(scratch_database(request.getfixturevalue("postgres_url"), _name()))
            return made.enter_context(closing(Database.open(url, durable=False)))

        yield make


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "loopline.db"
    _create_tables(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def _postgres_with_tables(postgres_url: str) -> Iterator[Database]:
    with scratch_database(postgres_url, _name()) as url:
        _create_tables(url)
        with closing(Database.open(url, durable=False)) as with_tables:
            yield with_tables


def _create_tables(url: str) -> None:
    made = Database.open(url, durable=False)
    with made.transaction() as tx:
        metadata.create_all(tx)  # the tables of every part that the collected tests import
    made.close()


def _name() -> str:
    return f"loopline_{os.getpid()}_{next(_NUMBERS)}"
