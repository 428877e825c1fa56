"""The database suite on SQLite and PostgreSQL, and what each kind needs of its own."""

import socket
import subprocess
import sys
from contextlib import closing

import pytest
import sqlalchemy as sa

from loopline.errors import InvalidInput, Unavailable
from loopline.storage.database import Database
from loopline.storage.sqlite import check_version
from loopline.storage.statements import Session, Sql
from loopline.testing.database import DatabaseSuite

SQLITE_TRANSACTION = 22


class TestDatabase(DatabaseSuite):
    pass


@pytest.mark.parametrize("version", [(3, 7, 0), (3, 44, 5), (3, 45, 0), (3, 50, 6), (3, 51, 2)])
def test_a_sqlite_that_loses_commits_is_refused(version):
    with pytest.raises(Unavailable, match=r"can lose commits") as raised:
        check_version(version)
    assert raised.value.code == "database.sqlite_loses_commits"


@pytest.mark.parametrize("version", [(3, 44, 6), (3, 50, 7), (3, 51, 3), (3, 53, 4), (4, 0, 0)])
def test_a_fixed_sqlite_is_taken(version):
    check_version(version)


def test_an_unknown_kind_is_refused():
    with pytest.raises(InvalidInput, match="no driver for 'mysql'"):
        Database.open("mysql://localhost/x")


def pragmas(database):
    names = ("journal_mode", "synchronous", "foreign_keys", "query_only")
    with database.transaction() as tx:
        return [tx.execute(sa.text(f"pragma {name}")).scalar_one() for name in names]


def test_sqlite_is_durable_unless_told_otherwise(tmp_path):
    for durable, synchronous in ((True, 2), (False, 1)):
        database = Database.open(f"sqlite:///{tmp_path}/new/folder/{durable}.db", durable=durable)
        assert pragmas(database) == ["wal", synchronous, 1, 0]
        database.close()


def test_sqlite_prepares_a_statement_once_whatever_else_ran_on_the_connection(tmp_path):
    prepared = []

    def watch(connection, _):
        connection.set_authorizer(
            lambda action, *_: prepared.append(action) or 0
        )  # it is asked whenever one is prepared

    with closing(Database.open(f"sqlite:///{tmp_path}/new.db")) as database, closing(Session(database)) as session:
        sa.event.listen(database.engine, "connect", watch)
        with database.transaction() as tx:
            tx.exec_driver_sql("create table made (number integer)")
            for number in range(300):
                tx.exec_driver_sql(f"select {number}")

        def built():
            with database.transaction() as tx:
                tx.execute(sa.text("select number from made")).all()
                tx.execute(sa.text("update made set number = number + 1"))

        def plain():
            with session.transaction() as sql:
                sql.rows(Sql("select number from made where number = ?"), 1)
                sql.change(Sql("update made set number = ?"), 1)

        for work in (built, plain):
            work()
            assert len(prepared) > 4
            prepared.clear()
            work()
            assert set(prepared) <= {SQLITE_TRANSACTION}
            prepared.clear()


def test_postgresql_is_durable_unless_told_otherwise(postgres_url):
    for durable, commit in ((True, "on"), (False, "off")):
        database = Database.open(postgres_url, durable=durable)
        with database.reading() as tx:
            assert tx.execute(sa.text("show synchronous_commit")).scalar_one() == commit
            assert tx.execute(sa.text("show timezone")).scalar_one() == "UTC"
        database.close()


_OPEN_AND_WRITE = """
import sys
from loopline.storage.database import Database
database = Database.open(sys.argv[1])
sys.stdin.read()
for number in range(20):
    with database.transaction() as tx:
        tx.exec_driver_sql("create table if not exists t (n integer)")
        tx.exec_driver_sql("insert into t values (1)")
"""


def test_processes_that_open_a_new_sqlite_file_at_once_wait_for_each_other(tmp_path):
    url = f"sqlite:///{tmp_path}/new.db"
    command = [sys.executable, "-c", _OPEN_AND_WRITE, url]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(3)]
    for process in started:
        process.stdin.close()
    assert [process.wait() for process in started] == [0] * 3
    database = Database.open(url)
    with database.reading() as tx:
        assert tx.exec_driver_sql("select count(*) from t").scalar_one() == 60
    database.close()


def test_a_server_that_is_away_is_told_in_our_words():
    with socket.socket() as taken:  # bound and not listening: whoever connects is refused
        taken.bind(("127.0.0.1", 0))
        database = Database.open(f"postgresql://nobody@127.0.0.1:{taken.getsockname()[1]}/none")
        for use in (database.transaction().__enter__, database.reading().__enter__, database.connect):
            with pytest.raises(Unavailable) as raised:
                use()
            assert raised.value.code == "database.unreachable"
        database.close()


def test_what_a_server_refuses_otherwise_stays_what_it_is(postgres_url):
    database = Database.open(postgres_url)

    def wait_for(number):
        with database.transaction() as tx:
            tx.exec_driver_sql("set local lock_timeout = 50")
            tx.exec_driver_sql(f"select pg_advisory_xact_lock({number})")

    with database.transaction() as tx:
        tx.exec_driver_sql("select pg_advisory_xact_lock(1)")
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            wait_for(1)
    database.close()
