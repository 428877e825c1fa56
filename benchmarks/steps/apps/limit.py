"""The least that could do: one durable commit a step, a row of a hundred bytes, on the library and file system that Loopline uses."""

from collections.abc import Callable
from pathlib import Path

import psycopg
from timing import DATABASE, both

from loopline.storage.sqlite import driver

RESULT = "x" * 100


def sqlite() -> None:
    connection = driver.connect(str(Path(DATABASE.removeprefix("sqlite:///"))), isolation_level=None)
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute("create table done (id integer primary key, result text)")

    def commit(value: int) -> int:
        connection.execute("begin immediate")
        connection.execute("insert into done (result) values (?)", (RESULT,))
        connection.execute("commit")
        return value + 1

    _both(commit)


def postgres() -> None:
    connection = psycopg.connect(DATABASE)
    connection.execute("create table done (id bigint generated always as identity primary key, result text)")
    connection.commit()

    def commit(value: int) -> int:
        connection.execute("insert into done (result) values (%s)", (RESULT,))
        connection.commit()
        return value + 1

    _both(commit)


def _both(commit: Callable[[int], int]) -> None:
    def sequence(count: int) -> int:
        value = 0
        for _ in range(count):
            value = commit(value)
        return value

    both(sequence, lambda count: sum(commit(value) for value in range(count)))


if DATABASE.startswith("sqlite"):
    sqlite()
else:
    postgres()
