"""Plain statements: the same on both databases, in a transaction of one's own or of another, and after a broken connection."""

from contextlib import closing

import pytest

from loopline.errors import Unavailable
from loopline.storage.database import Database
from loopline.storage.statements import Session, Sql, Statements

MAKE = Sql("create table plain_row (number integer primary key, name varchar(20))")
ADD = Sql("insert into plain_row (number, name) values (?, ?)")
NAMES = Sql("select name from plain_row where number {any} order by number")
LIKE = Sql("select number from plain_row where name like 'a%' and name like ?")
CHANGE = Sql("update plain_row set name = ? where number = ?")
NOW = Sql("select {now}")


@pytest.fixture
def emptied(make_empty_database):
    database = make_empty_database()
    with database.transaction() as tx:
        Statements.of(tx).change(MAKE)
        Statements.of(tx).many(ADD, [(1, "ann"), (2, "bob"), (3, "al")])
    return database


def test_statements_are_the_same_on_both(emptied):
    with closing(Session(emptied)) as session, session.transaction() as sql:
        assert sql.rows(NAMES, sql.array([3, 1])) == [("ann",), ("al",)]
        assert sql.rows(NAMES, sql.array([])) == []
        assert sql.rows(LIKE, "%n%") == [(1,)]
        assert (sql.change(CHANGE, "eve", 2), sql.change(CHANGE, "eve", 9)) == (1, 0)
        assert sql.first(NAMES, sql.array([9])) is None
        assert 1_700_000_000_000 < sql.rows(NOW)[0][0] < 10_000_000_000_000


def test_what_fails_is_rolled_back_and_the_session_goes_on(emptied):
    with closing(Session(emptied)) as session:

        def change_and_fail():
            with session.transaction() as sql:
                sql.change(CHANGE, "eve", 1)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            change_and_fail()
        with session.transaction() as sql:
            assert sql.rows(NAMES, sql.array([1])) == [("ann",)]
            sql.change(CHANGE, "eve", 1)
    with emptied.reading() as tx:
        sql = Statements.of(tx)
        assert sql.rows(NAMES, sql.array([1])) == [("eve",)]


def test_a_broken_connection_is_told_and_opened_again(postgres_url):
    end = Sql("select pg_terminate_backend(pg_backend_pid())")
    with closing(Database.open(postgres_url)) as database, closing(Session(database)) as session:

        def break_it():
            with session.transaction() as sql:
                sql.rows(end)

        with pytest.raises(Unavailable) as raised:
            break_it()
        assert raised.value.code == "database.lost"
        with session.transaction() as sql:
            assert sql.rows(NOW)


def test_what_is_not_waited_for_is_there_for_the_next_statement_and_its_error_undoes_everything(emptied):
    with closing(Session(emptied)) as session:
        with session.transaction() as sql:
            sql.later(ADD, 4, "dan")
            assert sql.rows(NAMES, sql.array([4])) == [("dan",)]
            assert sql.change(CHANGE, "don", 4) == 1
        with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
            add_again(session)
        with session.transaction() as sql:
            assert sql.rows(NAMES, sql.array([1, 4])) == [("ann",), ("don",)]


def add_again(session):
    """Changes one row, then adds another that is there already."""
    with session.transaction() as sql:
        sql.later(CHANGE, "eve", 1)
        sql.later(ADD, 4, "again")
