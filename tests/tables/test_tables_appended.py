"""What was appended since a version: each row once, in order, whatever was done to the files."""

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.clock import SystemClock
from loopline.tables.schema import TableSchema
from loopline.tables.tables import Tables

AT = datetime(2026, 1, 1, tzinfo=UTC)


def rows(numbers: list[int]) -> pl.DataFrame:
    schema = TableSchema({"x": pl.Int64}).all_columns
    return pl.DataFrame(
        [{"_key": str(n), "_event_time": AT, "_known_at": AT, "_tombstone": False, "x": n} for n in numbers],
        schema=schema,
    )


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(["append", "append", "compact", "look"]), min_size=1, max_size=12))
def test_looked_at_step_by_step_every_row_is_seen_once(tmp_path_factory, steps):
    tables = Tables(str(tmp_path_factory.mktemp("appended")), durable=False, clock=SystemClock())
    table, seen, after, number = tables.create("t", TableSchema({"x": pl.Int64})), [], -1, 0
    for step in [*steps, "look"]:
        if step == "append":
            table.append(rows([number, number + 1]), writer="w", sequence=number)
            number += 2
        elif step == "compact":
            table.compact()
        else:
            after, found = table.appended(after, columns=["x"])
            assert after == table.version
            seen += found["x"].to_list()
    assert seen == list(range(number))


def test_columns_that_came_later_are_null_in_older_rows(tmp_path):
    tables = Tables(str(tmp_path), durable=False, clock=SystemClock())
    table = tables.create("t", TableSchema({"x": pl.Int64}))
    table.append(rows([1]), writer="w", sequence=1)
    wider = tables.create("t", TableSchema({"x": pl.Int64, "y": pl.String}))
    wider.append(rows([2]).with_columns(y=pl.lit("b")), writer="w", sequence=2)
    assert wider.appended(-1, columns=["x", "y"])[1].rows() == [(1, None), (2, "b")]
    assert wider.appended(1, columns=["x"])[1]["x"].to_list() == [2]
    with pytest.raises(Exception, match="unknown columns"):
        wider.appended(-1, columns=["z"])
