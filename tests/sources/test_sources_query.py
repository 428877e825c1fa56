"""SQL against SQLite, PostgreSQL and DuckDB: the rows of a window, stable dtypes, no secrets told."""

import os
import sqlite3
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from loopline.errors import InvalidInput, LooplineError, NotFound, Unavailable
from loopline.sources.query import sql
from loopline.sources.reader import Terms
from loopline.storage.database import Database
from loopline.storage.foreign import masked, named_parameters
from loopline.testing.postgres import scratch_database
from loopline.values import Window

T0 = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
AT = Terms("updated_at", "updated_at")
BETWEEN = "select * from orders where updated_at > :start and updated_at <= :end order by id"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("create table orders (id text, updated_at text, price, note)")
        rows = [(f"o{n}", f"{T0 + n * HOUR:%Y-%m-%d %H:%M:%S}", n if n % 2 else n + 0.5, None) for n in range(10)]
        database.executemany("insert into orders values (?, ?, ?, ?)", rows)
    database.close()
    return f"sqlite:///{tmp_path}/shop.db"


@pytest.fixture
def postgres(postgres_url: str):
    with scratch_database(postgres_url, f"shop_{os.getpid()}") as url:
        opened = Database.open(url, durable=False)
        with opened.transaction() as tx:
            tx.exec_driver_sql(
                "create table orders (id uuid, updated_at timestamptz, local timestamp, price numeric(12, 4), tags jsonb, n int8)"
            )
            for n in range(5):
                values = {
                    "id": uuid.UUID(int=n),
                    "at": T0 + n * HOUR,
                    "local": datetime.fromisoformat(f"2024-07-01T{n:02}:00"),
                    "p": Decimal(n) / 3,
                }
                query = "insert into orders values (:id, :at, :local, :p, '{\"a\": [1]}', null)"
                tx.execute(sa.text(query), values)
        opened.close()
        yield url


def window(first: int, last: int) -> Window:
    return Window(T0 + first * HOUR, T0 + last * HOUR)


def test_sqlite_gives_the_window_and_nothing_of_its_start(sqlite_url):
    rows = sql(sqlite_url, BETWEEN, zone="UTC").read(window(2, 5), AT)
    assert rows["id"].to_list() == ["o3", "o4", "o5"]
    assert rows.schema == {
        "id": pl.String,
        "updated_at": pl.Datetime("us", "UTC"),
        "price": pl.Float64,
        "note": pl.Null,
    }
    assert rows["price"].to_list() == [3.0, 4.5, 5.0]
    berlin = sql(sqlite_url, BETWEEN, zone="Europe/Berlin").read(window(2, 5), AT)
    assert berlin["id"].to_list() == ["o4", "o5", "o6"]
    assert berlin["updated_at"][0] == T0 + 3 * HOUR


def test_a_query_without_bounds_is_cut_to_the_window(sqlite_url):
    everything = sql(sqlite_url, "select id, updated_at from orders", zone="UTC")
    assert everything.read(window(2, 5), AT)["id"].to_list() == ["o3", "o4", "o5"]
    assert everything.read(window(50, 51), AT).is_empty()


def test_times_as_seconds_or_as_other_text(tmp_path):
    with sqlite3.connect(tmp_path / "t.db") as database:
        database.execute("create table t (id integer, at text, s integer)")
        values = [(n, f"{T0 + n * HOUR:%Y-%m-%dT%H:%M:%SZ}", int((T0 + n * HOUR).timestamp())) for n in range(5)]
        database.executemany("insert into t values (?, ?, ?)", values)
    database.close()
    url, terms = f"sqlite:///{tmp_path}/t.db", Terms("at", "at")
    text = sql(url, "select * from t where at > :start and at <= :end", times="%Y-%m-%dT%H:%M:%SZ")
    seconds = sql(url, "select * from t where s > :start and s <= :end", times="epoch")
    assert [reader.read(window(1, 3), terms)["id"].to_list() for reader in (text, seconds)] == [[2, 3], [2, 3]]


def test_postgres_gives_stable_dtypes(postgres):
    rows = sql(postgres, BETWEEN, zone="Europe/Berlin", params={}).read(window(1, 3), AT)
    assert rows["updated_at"].to_list() == [T0 + 2 * HOUR, T0 + 3 * HOUR]
    assert rows["local"].to_list() == [datetime(2024, 7, 1, 0, tzinfo=UTC), datetime(2024, 7, 1, 1, tzinfo=UTC)]
    assert rows.schema == {
        "id": pl.String,
        "updated_at": pl.Datetime("us", "UTC"),
        "local": pl.Datetime("us", "UTC"),
        "price": pl.Float64,
        "tags": pl.String,
        "n": pl.Null,
    }
    assert rows["price"].to_list() == [0.6667, 1.0]
    assert rows["tags"].to_list() == ['{"a":[1]}'] * 2
    local = "select id, local from orders where local > :start and local <= :end order by id"
    summer = Window(datetime(2024, 6, 30, 22, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC))
    assert sql(postgres, local, zone="Europe/Berlin").read(summer, Terms("local")).height == 2
    declared = Terms("updated_at", "updated_at", {"price": pl.Decimal(12, 4), "n": pl.Int64()})
    exact = sql(postgres, BETWEEN, zone="Europe/Berlin").read(window(1, 3), declared)
    assert (exact["price"].to_list(), exact.schema["n"]) == ([Decimal("0.6667"), Decimal("1.0000")], pl.Int64)


def test_what_a_query_writes_is_rolled_back(postgres, sqlite_url):
    deleting = "with gone as (delete from orders returning *) select * from gone"
    with pytest.raises(Unavailable, match="read-only"):
        sql(postgres, deleting).read(window(0, 9), AT)
    with pytest.raises(LooplineError):
        sql(sqlite_url, "delete from orders").read(window(0, 9), AT)
    assert sql(postgres, "select * from orders", zone="UTC").read(window(-1, 9), AT).height == 5
    assert sql(sqlite_url, "select * from orders", zone="UTC").read(window(-1, 99), AT).height == 10


def test_duckdb_reads_files_with_globs_and_writes_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for part in range(2):
        at = [T0 + (5 * part + n) * HOUR for n in range(5)]
        pl.DataFrame({"id": range(5 * part, 5 * part + 5), "updated_at": at}).write_parquet(f"o{part}.parquet")
    query = "select id, updated_at, count(*)::ubigint n, 0.1::decimal(9, 3) d from 'o*.parquet' where updated_at > :start group by all"
    rows = sql("duckdb:", query, zone="Europe/Berlin").read(window(3, 6), AT)
    assert sorted(rows["id"]) == [4, 5, 6]
    assert rows.schema == {"id": pl.Int64, "updated_at": pl.Datetime("us", "UTC"), "n": pl.Int64, "d": pl.Float64}
    for bad in ("copy (select 1) to 'x.csv'", "create table t (a int)", "select 1; select 2", "attach 'x.db'"):
        with pytest.raises(InvalidInput) as caught:
            sql("duckdb:", bad).read(window(3, 6), AT)
        assert caught.value.code == "source.not_a_query"
    assert not list(tmp_path.glob("x.*"))
    with pytest.raises(Unavailable, match="No files found"):
        sql("duckdb:", "select * from 'none*.parquet'").read(window(3, 6), AT)


def test_secrets_come_from_the_environment_and_are_told_nowhere(monkeypatch, sqlite_url):
    reader = sql("env:ORDERS_URL", BETWEEN, zone="UTC")
    with pytest.raises(InvalidInput, match="ORDERS_URL is not set"):
        reader.read(window(2, 5), AT)
    monkeypatch.setenv("ORDERS_URL", sqlite_url)
    assert reader.read(window(2, 5), AT).height == 3
    assert sqlite_url not in repr(reader) + str(reader.describe())
    secret = sql("postgresql://ann:s3cr%40t@127.0.0.1:1/shop?sslpassword=s3cret", "select 1")
    with pytest.raises(Unavailable) as caught:
        secret.read(window(2, 5), AT)
    told = f"{secret!r} {secret.describe()} {caught.value} {caught.value.as_dict()} {caught.value.__cause__!r}"
    assert not any(word in told for word in ("s3cr", "s3cret"))
    assert masked("mysql://ann:s3cret@db/shop") == "mysql://ann:***@db/shop"


def test_what_cannot_be_reached_says_what_to_do(tmp_path):
    with pytest.raises(Unavailable, match="no driver") as missing:
        sql("mysql://ann:s3cret@db/shop", "select 1").read(window(0, 1), AT)
    assert "pip install 'pymysql'" in missing.value.remedy
    for url in (f"sqlite:///{tmp_path}/none.db", f"duckdb:///{tmp_path}/none.db"):
        with pytest.raises(NotFound):
            sql(url, "select 1").read(window(0, 1), AT)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InvalidInput) as unreadable:
        sql("my secret: hunter2", "select 1")
    assert "hunter2" not in str(unreadable.value)


def test_parameters_are_found_outside_of_quotes(sqlite_url):
    assert named_parameters("select ':a', x::date, \":b\", '12:30', :c from t where a = :d_1 and b='it''s :e'") == {
        "c",
        "d_1",
    }
    with pytest.raises(InvalidInput, match=":shop"):
        sql(sqlite_url, "select * from orders where shop = :shop and updated_at > :start")
    reader = sql(
        sqlite_url,
        "select id, updated_at, ':start' as s, '12:30' as t from orders where id = :id",
        zone="UTC",
        params={"id": "o3"},
    )
    assert reader.read(window(0, 9), AT).rows() == [("o3", T0 + 3 * HOUR, ":start", "12:30")]
    with pytest.raises(InvalidInput, match="twice"):
        sql(sqlite_url, "select id, id, updated_at from orders").read(window(0, 9), AT)
