"""Rows that are written file by file and appended all at once."""

from datetime import UTC, datetime

import deltalake
import polars as pl
import pytest

from loopline.errors import Conflict, Corrupt
from loopline.tables import Tables, TableSchema

AT = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMA = TableSchema({"value": pl.Int64})


def rows(*values: int) -> pl.DataFrame:
    return pl.DataFrame(
        {"_key": [f"k{v}" for v in values], "_event_time": [AT] * len(values), "_known_at": [AT] * len(values),
         "_tombstone": [False] * len(values), "value": list(values)},
        schema=SCHEMA.all_columns,
    )  # fmt: skip


@pytest.fixture
def table(tmp_path):
    return Tables(tmp_path).create("t", SCHEMA)


def test_staged_rows_show_in_one_version_in_their_order(table, tmp_path):
    files = [name for number in range(3) for name in table.stage(rows(number, number + 10), f"w{number}")]
    assert table.read().is_empty()
    assert table.version == 0
    done = table.append_staged(files, writer="w", sequence=0, provenance={"of": "three"})
    assert (done.version, done.rows, done.provenance) == (1, 6, {"of": "three"})
    assert table.read()["value"].to_list() == [0, 10, 1, 11, 2, 12]
    assert sorted(pl.read_delta(str(tmp_path / "t"))["value"]) == [0, 1, 2, 10, 11, 12]
    assert deltalake.DeltaTable(tmp_path / "t").version() == 1


def test_the_same_again_changes_nothing(table):
    files = table.stage(rows(1), "w")
    assert table.stage(rows(1), "w") == files
    first = table.append_staged(files, writer="w", sequence=3)
    assert table.append_staged([], writer="w", sequence=3) == first
    with pytest.raises(Conflict, match="comes too late"):
        table.append_staged(files, writer="w", sequence=2)
    assert (table.version, table.read().height) == (1, 1)


def test_what_is_given_up_is_gone_and_what_was_appended_stays(table):
    kept, given_up = table.stage(rows(1), "a"), table.stage(rows(2), "b")
    table.append_staged(kept, writer="a", sequence=0)
    table.unstage([*kept, *given_up, "part-none.parquet"])
    assert table.read()["value"].to_list() == [1]
    with pytest.raises(Corrupt) as caught:
        table.append_staged(given_up, writer="b", sequence=0)
    assert caught.value.code == "table.staged_missing"
    assert table.version == 1
