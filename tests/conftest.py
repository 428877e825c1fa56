"""Fixtures for the whole tree: a fresh database per test, on SQLite and on a real PostgreSQL."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa

from loopline.storage.columns import metadata
from loopline.storage.database import Database
from loopline.testing.postgres import running_postgres, scratch_database

_NUMBERS = count(1)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server whose user may create databases: LOOPLINE_TEST_POSTGRES_URL, or one started for this run."""
    given = os.environ.get("LOOPLINE_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with running_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new database with every table, of each kind in turn; it is gone after the test."""
    if request.param == "sqlite":
        path = tmp_path / "loopline.db"
        shutil.copy(request.getfixturevalue("_sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    template = request.getfixturevalue("_postgres_template")
    with scratch_database(request.getfixturevalue("postgres_url"), _name(), template=template) as url:
        yield url


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
def _postgres_template(postgres_url: str) -> Iterator[str]:
    with scratch_database(postgres_url, _name()) as url:
        _create_tables(url)
        yield str(sa.make_url(url).database)


def _create_tables(url: str) -> None:
    made = Database.open(url, durable=False)
    with made.transaction() as tx:
        metadata.create_all(tx)  # the tables of every part that the collected tests import
    made.close()


def _name() -> str:
    return f"loopline_{os.getpid()}_{next(_NUMBERS)}"
