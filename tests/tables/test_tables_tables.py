from pathlib import Path

import polars as pl
import pytest

from loopline.errors import Conflict, InvalidInput, NotFound
from loopline.tables import Tables, TableSchema


def test_create_is_idempotent_and_open_finds_it(tables, schema, reopened):
    assert not tables.exists("a.b")
    first = tables.create("a.b", schema)
    assert tables.create("a.b", schema).version == first.version == 0
    assert reopened().open("a.b").schema == schema
    assert tables.names() == ["a.b"]
    assert tables.exists("a.b")


def test_a_missing_table_is_not_found_and_not_made(tables, schema):
    tables.create("there", schema)
    with pytest.raises(NotFound, match="There are: there") as caught:
        tables.open("missing")
    assert caught.value.code == "table.not_found"
    assert tables.names() == ["there"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a..b", "../a", "a/b", "/a", "a\\b", "a\n", ".hidden", "-a", "é", "a" * 201]
)
def test_names_that_would_leave_the_folder_are_refused(tables, schema, name):
    for attempt in (lambda: tables.create(name, schema), lambda: tables.open(name), lambda: tables.exists(name)):
        with pytest.raises(InvalidInput) as caught:
            attempt()
        assert caught.value.code == "table.bad_name"


def test_object_stores_are_refused_with_a_sentence():
    with pytest.raises(InvalidInput) as caught:
        Tables("ftp://bucket/tables")
    assert caught.value.code == "tables.remote_root"
    with pytest.raises(InvalidInput) as caught:
        Tables("s3://bucket/tables")
    assert caught.value.code == "tables.no_locks"


def test_added_columns_are_null_in_rows_before_them(tables, table, rows, schema):
    table.append(rows(["a"], 1), writer="w", sequence=1)
    wider = TableSchema({**schema.columns, "gate": pl.Int32}, ("carrier",))
    tables.create(table.name, wider)
    assert table.schema == wider
    table.append(rows(["b"], 2).with_columns(gate=pl.lit(7, pl.Int32)), writer="w", sequence=2)
    assert table.read(columns=["_key", "gate"]).rows() == [("a", None), ("b", 7)]
    assert table.read(version=1).columns == list(schema.all_columns)
    assert [version.operation for version in table.versions()] == ["create", "append", "evolve", "append"]


def test_a_changed_column_is_refused_and_nothing_is_written(tables, table, schema):
    with pytest.raises(Conflict, match="'x' changes from Float64 to Int64") as caught:
        tables.create(table.name, TableSchema({**schema.columns, "x": pl.Int64}))
    assert caught.value.code == "table.schema_changed"
    assert table.version == 0


def test_durable_tables_behave_the_same(tmp_path: Path, schema, rows):
    table = Tables(f"file://{tmp_path}/deep/er", durable=True).create("a", schema)
    table.append(rows(["a"], 1), writer="w", sequence=1)
    assert table.read().equals(rows(["a"], 1))
