"""Which class an error is of: real exceptions of real libraries, real processes, and a table of one's own."""

import errno
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request

import deltalake
import duckdb
import httpx
import lmdb
import msgspec
import obstore
import polars as pl
import psycopg
import pytest
import sqlalchemy as sa
from obstore.store import LocalStore, MemoryStore

from loopline.errors import BadRows, Corrupt, DeclarationError, InvalidInput, NotFound, NotPermitted, Unavailable
from loopline.pipelines.healing.classes import CLASSES, check_own, classify
from loopline.pipelines.healing.raised import exited, raised
from loopline.storage.database import Database


def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def http(status):
    def raise_it():
        request = httpx.Request("GET", "https://data.example.org/rows?token=secret")
        httpx.Response(status, request=request).raise_for_status()

    return raise_it


def os_error(number):
    def raise_it():
        raise OSError(number, os.strerror(number), "/data/x")

    return raise_it


def chained():
    try:
        {}["x"]
    except KeyError as error:
        raise RuntimeError("could not read") from error


def wrapped_timeout():
    try:
        _raise(TimeoutError())
    except TimeoutError as error:
        raise RuntimeError("reading failed") from error


def silent():
    with httpx.Client(timeout=0.05) as client, socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.get(f"http://127.0.0.1:{server.getsockname()[1]}/")


REAL = {
    "polars, a value": (lambda: pl.Series(["x"]).cast(pl.Int64), "data"),
    "polars, a column": (lambda: pl.DataFrame({"a": [1]}).select("b"), "data"),
    "polars, shapes": (lambda: pl.DataFrame({"a": [1], "b": [1, 2]}), "data"),
    "polars, a file": (lambda: pl.read_parquet("/nowhere/x.parquet"), "access"),
    "deltalake, no table": (lambda: deltalake.DeltaTable("/nowhere/table"), "access"),
    "obstore, no key": (lambda: obstore.get(MemoryStore(), "x"), "access"),
    "obstore, no folder": (lambda: LocalStore("/nowhere/at/all"), "dependency"),
    "httpx, refused": (lambda: httpx.get(f"http://127.0.0.1:{closed_port()}/"), "dependency"),
    "httpx, silent": (silent, "timeout"),
    "httpx, no host": (lambda: httpx.get("http://nowhere.invalid/"), "dependency"),
    "httpx, bad address": (lambda: httpx.get("nowhere"), "code"),
    "urllib, refused": (lambda: urllib.request.urlopen(f"http://127.0.0.1:{closed_port()}/"), "dependency"),
    "urllib, 429": (lambda: _raise(urllib.error.HTTPError("u", 429, "slow down", {}, None)), "capacity"),
    **{
        f"HTTP {status}": (http(status), class_)
        for status, class_ in [
            (400, "code"),
            (401, "access"),
            (403, "access"),
            (404, "access"),
            (408, "timeout"),
            (418, "code"),
            (422, "data"),
            (429, "capacity"),
            (500, "dependency"),
            (503, "dependency"),
            (504, "timeout"),
            (507, "capacity"),
        ]
    },
    "psycopg, refused": (lambda: psycopg.connect(f"host=127.0.0.1 port={closed_port()}"), "dependency"),
    "sqlalchemy, refused": (
        lambda: sa.create_engine(f"postgresql+psycopg://x@127.0.0.1:{closed_port()}/x").connect(),
        "dependency",
    ),
    "sqlite, a constraint": (lambda: _sqlite("create table t (a not null); insert into t values (null)"), "data"),
    "sqlite, no table": (lambda: _sqlite("select * from t"), "code"),
    "sqlite, no file": (lambda: sqlite3.connect("/nowhere/x.db"), "access"),
    "duckdb, a value": (lambda: duckdb.sql("select cast('x' as int)").fetchall(), "data"),
    "duckdb, a mistake": (lambda: duckdb.sql("selct 1"), "code"),
    "lmdb, no folder": (lambda: lmdb.open("/nowhere/x", create=False), "access"),
    "msgspec": (lambda: msgspec.json.decode(b"[1", type=list[int]), "data"),
    "open, nothing there": (lambda: open("/nowhere/x").read(), "access"),  # noqa: PTH123, SIM115
    "disk full": (os_error(errno.ENOSPC), "capacity"),
    "too many files": (os_error(errno.EMFILE), "capacity"),
    "input or output": (os_error(errno.EIO), "dependency"),
    "not allowed": (os_error(errno.EACCES), "access"),
    "int": (lambda: int("x"), "data"),
    "unicode": (b"\xff".decode, "data"),
    "division": (lambda: 1 / 0, "code"),
    "key": (lambda: {}["x"], "code"),
    "attribute": (lambda: None.x, "code"),
    "import": (lambda: __import__("nowhere_at_all"), "code"),
    "assertion": (lambda: _raise(AssertionError()), "code"),
    "unknown": (lambda: _raise(RuntimeError("what?")), "code"),
    "memory": (lambda: bytearray(2**62), "capacity"),
    "memory of a frame": (lambda: _raise(MemoryError()), "capacity"),
    "process": (
        lambda: subprocess.run([sys.executable, "-c", "import time; time.sleep(9)"], timeout=0.01, check=False),
        "timeout",
    ),
    "behind a RuntimeError": (chained, "code"),
    "a timeout behind one": (wrapped_timeout, "timeout"),
    "ours, input": (lambda: _raise(InvalidInput("a.b", "x")), "data"),
    "ours, bad rows": (lambda: _raise(BadRows("rows", [1], "negative")), "data"),
    "ours, declaration": (lambda: _raise(DeclarationError("a.b", "x")), "code"),
    "ours, not found": (lambda: _raise(NotFound("a.b", "x")), "access"),
    "ours, not permitted": (lambda: _raise(NotPermitted("a.b", "x")), "access"),
    "ours, corrupt": (lambda: _raise(Corrupt("a.b", "x")), "data"),
    "ours, unavailable": (lambda: _raise(Unavailable("a.b", "x")), "dependency"),
}


def _raise(error):
    raise error


def _sqlite(script):
    with sqlite3.connect(":memory:") as connection:
        connection.executescript(script)


def error_of(raise_it):
    try:
        raise_it()
    except BaseException as error:
        return raised(error)
    raise AssertionError("it raised nothing")


@pytest.mark.parametrize("case", sorted(REAL))
def test_real_errors_are_classified(case):
    raise_it, class_ = REAL[case]
    found = classify(error_of(raise_it))
    assert found.class_ == class_, found
    assert found.why


def test_a_locked_database_is_short_of_capacity(tmp_path):
    with sqlite3.connect(tmp_path / "x.db", timeout=0) as one, sqlite3.connect(tmp_path / "x.db", timeout=0) as other:
        one.execute("begin immediate")
        with pytest.raises(sqlite3.OperationalError) as told:
            other.execute("begin immediate")
    assert classify(raised(told.value)).class_ == "capacity"


@pytest.mark.parametrize(
    ("statement", "class_"),
    [
        ("select 1/0", "data"), ("select 'x'::int", "data"), ("select * from nowhere", "code"), ("selct 1", "code"),
        ("set statement_timeout = 1; select pg_sleep(9)", "timeout"), ("select pg_terminate_backend(pg_backend_pid())", "dependency"),
        ("set role nobody_at_all", "data"), ("create table t (a int check (a > 0)); insert into t values (-1)", "data"),
        ("create role weak; set role weak; create table forbidden (a int)", "access"),
    ],
)  # fmt: skip
def test_postgresql_says_what_it_is_by_its_sqlstate(postgres_url, statement, class_):
    database = Database.open(postgres_url)
    with pytest.raises(sa.exc.DBAPIError) as told, database.engine.begin() as tx:
        tx.exec_driver_sql(statement)
    found = raised(told.value)
    database.close()
    assert classify(found).class_ == class_, classify(found)


def test_a_wrong_password_is_no_access(postgres_url):
    """Trust is how the test's server lets in, so the server's own words are asked for by a role that is not there."""
    url = sa.make_url(postgres_url).set(drivername="postgresql+psycopg", username="nobody_at_all")
    with pytest.raises(sa.exc.OperationalError) as told:
        sa.create_engine(url).connect()
    assert classify(raised(told.value)).class_ in {"access", "dependency"}


@pytest.mark.parametrize(
    ("code", "class_"),
    [
        (1, "code"),
        (-9, "capacity"),
        (137, "capacity"),
        (-11, "code"),
        (139, "code"),
        (-15, "dependency"),
        (-24, "timeout"),
    ],
)
def test_exit_codes_and_signals(code, class_):
    assert classify(exited(code)).class_ == class_


def test_a_process_that_was_really_killed():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        process.send_signal(signal.SIGKILL)
    found = classify(exited(process.returncode))
    assert (found.class_, found.told) == ("capacity", "killed by SIGKILL")
    assert classify(exited(1, out_of_memory=True)).class_ == "capacity"


def test_a_table_of_ones_own_comes_first():
    class QuotaExceeded(ValueError):
        pass

    error = raised(QuotaExceeded("12 of 10"))
    assert classify(error).class_ == "data"
    assert classify(error, {"QuotaExceeded": "capacity"}).class_ == "capacity"
    assert classify(error, {error.types[0]: "access"}).class_ == "access"
    assert classify(error, {"ValueError": "code"}).class_ == "code"
    assert classify(raised(Unavailable("bank.closed", "x")), {"bank.closed": "timeout"}).class_ == "timeout"
    assert check_own({"x.Y": "data"}) == {"x.Y": "data"}
    with pytest.raises(InvalidInput, match="no class"):
        check_own({"x.Y": "sorrow"})


def test_rows_that_an_error_quotes_are_not_kept():
    found = classify(error_of(lambda: int("Jane Doe")))
    assert "Jane" not in repr(found)
    assert found.shape == ""
    kept = classify(error_of(http(503)))
    assert "secret" not in repr(kept)
    assert kept.source == "data.example.org"
    assert "Service Unavailable" not in kept.told


def test_it_crosses_processes_as_json_and_is_the_same():
    for raise_it, _ in REAL.values():
        error = error_of(raise_it)
        again = msgspec.json.decode(msgspec.json.encode(error), type=type(error))
        assert classify(again) == classify(error)


def test_a_chain_that_goes_round_ends():
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert classify(raised(first)).class_ in CLASSES


def test_an_error_of_ours_may_say_its_class_and_the_users_table_comes_first():
    error = InvalidInput("command.exit_code", "it ended with exit code 127", failure="dependency")
    found = classify(raised(error))
    assert (found.class_, found.why) == ("dependency", "command.exit_code says so")
    assert classify(raised(error), {"command.exit_code": "access"}).class_ == "access"
    assert classify(raised(InvalidInput("a.b", "c", failure="weather"))).class_ == "data"
