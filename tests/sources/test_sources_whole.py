"""Whole inputs: every row once, in its order; the newest of a table's rows; told apart where they differ."""

import sqlite3
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import Conflict, InvalidInput, NotFound
from loopline.sources.whole import Input, WholeFiles, WholeQuery, WholeTable
from loopline.tables import Tables, TableSchema

AT = datetime(2026, 1, 1, tzinfo=UTC)


def read(source: Input, scratch, rows: int = 7, columns=None) -> pl.DataFrame:
    found = list(source.batches(rows, scratch, columns))
    assert all(0 < frame.height <= rows for frame in found)
    return pl.concat(found)


def test_files_are_read_one_after_the_other_with_the_columns_asked_for(tmp_path):
    for number in (2, 1):
        frame = pl.DataFrame({"a": range(10 * number, 10 * number + 9), "b": "x"})
        frame.write_parquet(tmp_path / f"part-{number}.parquet")
    source = WholeFiles(str(tmp_path / "part-*.parquet"))
    found = read(source, tmp_path, columns={"a", "c"})
    assert (found.columns, found["a"].to_list()) == (["a"], [*range(10, 19), *range(20, 29)])
    assert source.pin() == WholeFiles(str(tmp_path / "*.parquet")).pin()


def test_a_pin_tells_other_bytes_and_not_other_times(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    first = WholeFiles(str(path)).pin()
    path.write_text("a\n1\n")
    assert WholeFiles(str(path)).pin() == first
    path.write_text("a\n2\n")
    assert WholeFiles(str(path)).pin() != first


def test_a_file_that_is_written_to_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    source = WholeFiles(str(path))
    source.pin()
    path.write_text("a\n1\n22\n")
    with pytest.raises(Conflict, match="written to while"):
        read(source, tmp_path)


def test_what_cannot_be_read_is_told(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "a.csv").write_text("a\n1\n")
    for source, error, code in (
        (WholeFiles(str(tmp_path / "bad.parquet")), InvalidInput, "source.unreadable_input"),
        (WholeFiles(str(tmp_path / "*.*")), InvalidInput, "source.mixed_formats"),
        (WholeFiles(str(tmp_path / "no-*.csv")), NotFound, "source.no_match"),
    ):
        with pytest.raises(error) as caught:
            read(source, tmp_path)
        assert caught.value.code == code
    with pytest.raises(InvalidInput, match="asks for :day"):
        WholeQuery("select * from t where day = :day")


def test_a_query_is_read_in_portions_from_any_database(tmp_path):
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("create table orders (n integer, note text)")
        database.executemany("insert into orders values (?, ?)", [(n, "x:y" if n % 3 else None) for n in range(50)])
    database.close()
    query = "select n, note from orders where note is null or note = 'x:y' order by n"
    found = read(WholeQuery(query, f"sqlite:///{tmp_path / 'shop.db'}"), tmp_path)
    assert found["n"].to_list() == list(range(50))
    assert found["note"].to_list() == ["x:y" if n % 3 else None for n in range(50)]
    duck = WholeQuery("select range as n from range(50) order by 1")
    assert read(duck, tmp_path)["n"].to_list() == list(range(50))
    assert duck.pin() is None
    assert not list(tmp_path.glob("*.parquet"))
    secret = WholeQuery("select 1", "postgresql://me:hidden@host/db")
    assert "hidden" not in secret.named


changes = st.tuples(st.integers(0, 5), st.integers(0, 4), st.booleans())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(changes, max_size=8), min_size=1, max_size=5))
def test_a_table_gives_the_newest_row_of_each_key(tmp_path_factory, appends):
    folder = tmp_path_factory.mktemp("whole")
    tables = Tables(folder / "tables", durable=False)
    table = tables.create("t", TableSchema({"value": pl.Int64}))
    expected, value = [], 0
    for sequence, rows in enumerate(appends):
        said = []
        for key, hour, gone in rows:
            value += 1
            said.append(
                {
                    "_key": f"k{key}",
                    "_event_time": AT,
                    "_known_at": AT + timedelta(hours=hour),
                    "_tombstone": gone,
                    "value": value,
                }
            )
        if sequence == len(appends) - 1 and sequence:
            tables.create("t", TableSchema({"value": pl.Int64, "late": pl.String}))
            said = [row | {"late": "l"} for row in said]
        table.append(pl.DataFrame(said, schema=table.schema.all_columns), writer="w", sequence=sequence)
        expected.append(table.current())
    versions = [one.version for one in table.versions() if one.operation == "append"]
    for version, rows in zip(versions, expected, strict=True):
        source = WholeTable(tables, "t", version)
        found = [frame for frame in source.batches(3, folder, {"value", "late", "_known_at"}) if frame.height]
        whole = pl.concat(found) if found else pl.DataFrame(schema={"_key": pl.String, "value": pl.Int64})
        assert whole.select("_key", "value").sort("_key").equals(rows.select("_key", "value").sort("_key"))
        assert source.pin().said == {"table": "t", "version": version}
