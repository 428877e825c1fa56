"""Old rows leave a table file by file; newer ones, sequences and other readers are not touched."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopline.errors import NotFound


def fill(table, rows, count):
    for number in range(count):
        table.append(rows(["a", "b", "c"], number, value=float(number)), writer="w", sequence=number)


def test_rows_that_are_old_enough_leave_and_nothing_else(table, rows, at):
    fill(table, rows, 20)
    before = table.read(known_after=at(9))
    assert table.retire(at(10), dry=True) == 30
    assert table.read().height == 60
    assert table.retire(at(10)) == 30
    assert table.read().equals(before)
    assert table.retire(at(10)) == 0
    told = table.versions()[-1]
    assert (told.operation, told.provenance["rows"]) == ("retire", 30)


def test_what_was_appended_once_is_not_appended_again(table, rows, at):
    fill(table, rows, 5)
    table.retire(at(5))
    assert table.read().is_empty()
    table.append(rows(["a"], 0), writer="w", sequence=3)
    assert table.read().is_empty()
    assert table.sequence("w") == 4
    table.append(rows(["d"], 0), writer="w", sequence=5)
    assert table.read().height == 1


def test_an_older_version_says_that_its_rows_are_retired(table, rows, at):
    fill(table, rows, 6)
    version = table.version
    table.retire(at(3))
    assert table.read(version=version, known_after=at(2)).height == 9
    with pytest.raises(NotFound) as told:
        table.read(version=version)
    assert told.value.code == "table.rows_retired"
    assert (
        f"9 rows of version {version} were retired, or lay beside such, in version {version + 1}" in told.value.message
    )


def test_the_files_go_and_the_table_is_sound_without_them(table, rows, at, reopened):
    fill(table, rows, 6)
    table.retire(at(3))
    later = at(24 * 365 * 1000)
    assert len(table.drop_strays(later)) == 3
    assert table.damage(deep=True) == []
    assert table.read().height == 9
    assert reopened().open(table.name).read().height == 9
    names = [name for name, _ in table.copy_at(table.version)]
    assert sum(name.endswith(".parquet") for name in names) == 3


def test_an_append_goes_when_all_its_rows_are_old(table, rows, at):
    table.append(rows(["a", "b"], [1, 9]), writer="w", sequence=0)
    assert table.retire(at(9)) == 0
    assert table.retire(at(10)) == 2


def test_a_compacted_file_is_written_anew_without_its_old_rows_and_older_versions_hold_none(table, rows, at, reopened):
    fill(table, rows, 6)
    table.compact()
    fill_more = rows(["z"], 2.5)
    table.append(fill_more, writer="w", sequence=6)
    before = table.read(known_after=at(3))
    assert table.retire(at(4), dry=True) == 13
    assert table.retire(at(4)) == 13
    assert table.read().equals(before)
    assert table.retire(at(4)) == 0
    dropped = table.drop_strays(at(24 * 365 * 1000))
    assert len(dropped) == 4 + 1 + 1, "appends before the fourth hour, the file they were made, the one that came late"
    assert table.damage(deep=True) == []
    assert reopened().open(table.name).read().equals(before)
    with pytest.raises(NotFound):
        table.read(version=7)


def test_what_waits_to_be_looked_through_is_what_is_left(table, rows, at):
    fill(table, rows, 6)
    table.retire(at(3))
    table.drop_strays(at(24 * 365 * 1000))
    assert table.appended(0)[1].height == 9


def test_other_readers_of_delta_see_the_same(local_table, rows, at):
    fill(local_table, rows, 6)
    local_table.retire(at(3))
    assert pl.read_delta(local_table.uri).height == 9


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=12),
    st.lists(st.integers(0, 31), min_size=1, max_size=3),
)
def test_what_is_left_are_the_rows_that_are_new_enough_in_their_order(local_tables, rows, schema, at, steps, limits):
    table = local_tables.create(f"t.x{abs(hash((tuple(steps), tuple(limits))))}", schema)
    for place, (hour, compacts) in enumerate(steps):
        table.append(rows(["k"], float(hour)), writer="w", sequence=place)
        if compacts:
            table.compact()
    for limit in limits:
        table.retire(at(limit))
    left = [hour for hour, _ in steps if hour >= max(limits)]
    assert [(time - at(0)) / timedelta(hours=1) for time in table.read()["_known_at"]] == left
    table.drop_strays(at(24 * 365 * 1000))
    assert table.damage(deep=True) == []
    assert sum(file.rows for file in table.plan()) == len(left)
