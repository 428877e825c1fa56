"""What every database must hold. Subclass `DatabaseSuite` and give it a fixture `database_url`."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from loopline.storage.columns import Json, UtcTime
from loopline.storage.database import Database, insert_once, lock, upsert

_metadata = sa.MetaData()
suite_row = sa.Table(
    "suite_row",
    _metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("count", sa.BigInteger),
    sa.Column("at", UtcTime),
    sa.Column("body", Json),
)

_WRITER = """
import sys
import sqlalchemy as sa
from loopline.storage.database import Database

database = Database.open(sys.argv[1])
for number in range(10**9):
    with database.transaction() as tx:
        for part in "ab":
            tx.execute(sa.text("insert into suite_row (name, count) values (:n, 0)"), {"n": f"{number}{part}"})
    print(number, flush=True)
"""


class DatabaseSuite:
    """Transactions, times, JSON, idempotent writes, concurrency and the death of the writing process.

    `database_url` names a database without rows in a table `suite_row`, for each test.
    """

    @pytest.fixture
    def database(self, database_url: str) -> Iterator[Database]:
        opened = Database.open(database_url)
        with opened.transaction() as tx:
            _metadata.create_all(tx)
        yield opened
        opened.close()

    def test_a_transaction_is_committed_whole(self, database: Database) -> None:
        with database.transaction() as tx:
            _insert(tx, "a")
            _insert(tx, "b")
        assert _names(database) == ["a", "b"]

    def test_a_transaction_that_fails_leaves_nothing(self, database: Database) -> None:
        def write_and_fail() -> None:
            with database.transaction() as tx:
                _insert(tx, "a")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            write_and_fail()
        assert _names(database) == []

    def test_a_table_made_in_a_transaction_that_fails_is_gone(self, database: Database) -> None:
        def create_and_fail() -> None:
            with database.transaction() as tx:
                tx.execute(sa.text("create table suite_other (name text)"))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            create_and_fail()
        assert "suite_other" not in sa.inspect(database.engine).get_table_names()

    def test_a_reader_sees_one_state_and_waits_for_nobody(self, database: Database) -> None:
        with database.transaction() as writing:
            _insert(writing, "a")
            with database.reading() as tx:
                assert _read_names(tx) == []
        with database.reading() as tx:
            assert _read_names(tx) == ["a"]
            with database.transaction() as writing:
                _insert(writing, "b")
            assert _read_names(tx) == ["a"]

    def test_a_reader_cannot_write(self, database: Database) -> None:
        with pytest.raises(sa.exc.DBAPIError), database.reading() as tx:
            _insert(tx, "a")
        with database.transaction() as tx:
            _insert(tx, "b")
        assert _names(database) == ["b"]

    @pytest.mark.parametrize(
        "at",
        [
            datetime(2026, 3, 29, 1, 30, 0, 1, tzinfo=UTC),
            datetime(2026, 3, 29, 3, 30, tzinfo=timezone(timedelta(hours=2))),
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        ],
    )
    def test_times_come_back_to_the_microsecond(self, database: Database, at: datetime) -> None:
        with database.transaction() as tx:
            tx.execute(suite_row.insert().values(name="a", at=at))
            found = tx.execute(sa.select(suite_row.c.at)).scalar_one()
            assert tx.execute(sa.select(suite_row.c.name).where(suite_row.c.at == at)).scalar_one() == "a"
        assert found == at
        assert found.tzinfo is UTC

    def test_times_sort_as_moments(self, database: Database) -> None:
        start = datetime(999, 12, 31, 23, 59, 59, tzinfo=UTC)
        moments = [
            start,
            start + timedelta(microseconds=1),
            start + timedelta(days=1),
            datetime(2026, 1, 1, tzinfo=UTC),
        ]
        with database.transaction() as tx:
            for number, at in enumerate(reversed(moments)):
                tx.execute(suite_row.insert().values(name=str(number), at=at))
            assert list(tx.scalars(sa.select(suite_row.c.at).order_by(suite_row.c.at))) == moments

    @pytest.mark.parametrize("body", [{"b": [1, 2.5, None, "é\x00'"], "a": {}}, [], 0, "", False, 2**63, 1e-300, None])
    def test_json_comes_back_equal(self, database: Database, body: object) -> None:
        with database.transaction() as tx:
            tx.execute(suite_row.insert().values(name="a", body=body))
            assert tx.execute(sa.select(suite_row.c.body)).scalar_one() == body

    def test_upsert_sets_what_is_given_and_keeps_the_rest(self, database: Database) -> None:
        with database.transaction() as tx:
            upsert(tx, suite_row, {"name": "a", "count": 1, "body": [1]}, key=["name"])
            upsert(tx, suite_row, {"name": "a", "count": 2}, key=["name"])
            upsert(tx, suite_row, {"name": "a"}, key=["name"])
            assert tx.execute(sa.select(suite_row.c.count, suite_row.c.body)).all() == [(2, [1])]

    def test_insert_once_tells_whether_it_inserted(self, database: Database) -> None:
        with database.transaction() as tx:
            assert insert_once(tx, suite_row, {"name": "a", "count": 1}) is True
            assert insert_once(tx, suite_row, {"name": "a", "count": 2}) is False
            assert tx.execute(sa.select(suite_row.c.count)).scalar_one() == 1

    def test_many_writers_wait_for_each_other(self, database: Database) -> None:
        with database.transaction() as tx:
            tx.execute(suite_row.insert().values(name="a", count=0))

        def increment(_: int) -> None:
            for _ in range(50):
                with database.transaction() as tx:
                    lock(tx, "suite", "a")
                    seen = tx.execute(sa.select(suite_row.c.count)).scalar_one()
                    tx.execute(suite_row.update().values(count=seen + 1))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(increment, range(8)))
        with database.reading() as tx:
            assert tx.execute(sa.select(suite_row.c.count)).scalar_one() == 400

    @pytest.mark.parametrize("acknowledgements", [1, 40])
    def test_what_a_killed_process_was_told_is_committed_is_there(
        self, database: Database, database_url: str, acknowledgements: int
    ) -> None:
        command = [sys.executable, "-c", _WRITER, database_url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:  # noqa: S603 - this interpreter
            assert writer.stdout is not None
            told = [int(writer.stdout.readline()) for _ in range(acknowledgements)]
            os.kill(writer.pid, signal.SIGKILL)
            told += [int(line) for line in writer.stdout]
        with database.transaction() as tx:  # a new writer is not kept waiting by the dead one
            found = set(_read_names(tx))
        assert {f"{number}{part}" for number in told for part in "ab"} <= found
        assert {name[:-1] for name in found if name[-1] == "a"} == {name[:-1] for name in found if name[-1] == "b"}


def _insert(tx: sa.Connection, name: str) -> None:
    tx.execute(suite_row.insert().values(name=name))


def _read_names(tx: sa.Connection) -> list[str]:
    return list(tx.scalars(sa.select(suite_row.c.name).order_by(suite_row.c.name)))


def _names(database: Database) -> list[str]:
    with database.reading() as tx:
        return _read_names(tx)
