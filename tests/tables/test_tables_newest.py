"""The newest rows are the end of the whole table, whatever files and known times it has."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from loopline.errors import InvalidInput
from loopline.tables import Tables, TableSchema
from loopline.tables.newest import newest_rows, row_count

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def table(tmp_path):
    """Appends of 3, 0, 1, 4 and 2 rows, of which the later ones are known earlier."""
    made = Tables(tmp_path, durable=False).create("t", TableSchema({"n": pl.Int64}))
    numbers = iter(range(10))
    for sequence, count in enumerate([3, 0, 1, 4, 2]):
        known = START - timedelta(days=sequence)
        rows = [
            {"_key": "k", "_event_time": START, "_known_at": known, "_tombstone": False, "n": next(numbers)}
            for _ in range(count)
        ]
        made.append(pl.DataFrame(rows, schema=made.schema.all_columns), writer="w", sequence=sequence)
    return made


def test_the_end_of_the_table_in_append_order(table):
    assert row_count(table) == 10
    for limit in range(1, 13):
        assert newest_rows(table, limit, columns=["n"])["n"].to_list() == list(range(10))[-limit:]


def test_columns_are_picked_and_checked(table):
    assert newest_rows(table, 1, columns=["n", "_key"]).rows() == [(9, "k")]
    with pytest.raises(InvalidInput):
        newest_rows(table, 1, columns=["m"])


def test_a_table_without_rows(tmp_path):
    table = Tables(tmp_path, durable=False).create("t", TableSchema({"n": pl.Int64}))
    assert newest_rows(table, 5).height == 0
    assert row_count(table) == 0
