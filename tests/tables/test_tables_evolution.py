"""Columns that change, rule by rule: what the table has afterwards, what is quarantined, what is recorded."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from loopline.errors import Conflict, InvalidInput
from loopline.tables import SourceSpec, Tables, ingest, quarantined
from loopline.tables.dedupe import dedupe
from loopline.tables.evolution import SchemaChange, evolve
from loopline.values import Window

T0 = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def spec(columns: dict | None = None, deduped=None, **rules: str) -> SourceSpec:
    return SourceSpec("t", "id", "at", "at", columns=columns, evolve=evolve(**rules), dedupe=deduped or dedupe())


def rows(hour: int, **columns: list) -> pl.DataFrame:
    count = len(next(iter(columns.values())))
    ids = columns.pop("id", [f"{hour}{n}" for n in range(count)])
    return pl.DataFrame({"id": ids, "at": [T0 + hour * HOUR + timedelta(minutes=30)] * count, **columns})


def take(tables: Tables, source: SourceSpec, hour: int, **columns: list):
    return ingest(tables, source, rows(hour, **columns), Window(T0 + hour * HOUR, T0 + (hour + 1) * HOUR))


@pytest.mark.parametrize(
    ("rule", "kept", "columns", "reasons"),
    [
        ("accept", 2, ["id", "at", "a", "b"], {}),
        ("ignore", 2, ["id", "at", "a"], {}),
        ("quarantine", 1, ["id", "at", "a"], {"added_column:b": 1}),
    ],
)
def test_an_added_column(tables, rule, kept, columns, reasons):
    take(tables, spec(added=rule), 0, a=[1, 2])
    done = take(tables, spec(added=rule), 1, a=[3, 4], b=[None, "x"])
    assert (done.rows, done.reasons) == (kept, reasons)
    assert list(tables.open("t").schema.columns) == columns
    assert done.changes == [SchemaChange("b", "added", None, "String", rule, len(reasons))]
    if rule == "accept":
        assert tables.open("t").read()["b"].to_list() == [None, None, None, "x"]


def test_an_added_column_is_refused_or_left_out_where_columns_are_declared(tables):
    columns = {"id": pl.String(), "at": pl.Datetime("us", "UTC"), "a": pl.Int64()}
    with pytest.raises(InvalidInput, match="unknown columns: b"):
        take(tables, spec(columns, added="refuse"), 0, a=[1], b=[1])
    assert take(tables, spec(columns), 0, a=[1], b=[1]).changes[0].rule == "ignore"
    assert list(tables.open("t").schema.columns) == ["id", "at", "a"]


def test_a_column_without_values_waits_for_its_first(tables):
    take(tables, spec(), 0, a=[1], b=[None])
    assert list(tables.open("t").schema.columns) == ["id", "at", "a"]
    take(tables, spec(), 1, a=[1], b=[2.5])
    assert tables.open("t").read()["b"].to_list() == [None, 2.5]


@pytest.mark.parametrize(("rule", "kept"), [("accept", 2), ("quarantine", 0), ("refuse", None)])
def test_a_removed_column(tables, rule, kept):
    take(tables, spec(removed=rule), 0, a=[1], b=[1])
    if kept is None:
        with pytest.raises(InvalidInput, match="missing columns: b"):
            take(tables, spec(removed=rule), 1, a=[2, 3])
        return
    done = take(tables, spec(removed=rule), 1, a=[2, 3])
    assert (done.rows, done.quarantined) == (kept, 2 - kept)
    assert done.changes == [SchemaChange("b", "removed", "Int64", None, rule, 2 - kept)]
    assert tables.open("t").read()["b"].to_list() == [1, *[None] * kept]


def test_key_and_times_are_never_gone(tables):
    take(tables, spec(removed="accept"), 0, a=[1])
    with pytest.raises(InvalidInput, match="missing columns: id"):
        ingest(tables, spec(removed="accept"), rows(1, a=[1]).drop("id"), Window(T0 + HOUR, T0 + 2 * HOUR))


def test_a_widened_column_is_widened_and_old_versions_stay(tables):
    take(tables, spec(), 0, a=[1, 2])
    take(tables, spec(), 1, a=[3, None])
    before = tables.open("t").version
    assert take(tables, spec(), 2, a=[4.0, 5.0]).changes == []  # they fit
    done = take(tables, spec(), 3, a=[0.5, 6])
    assert done.changes == [SchemaChange("a", "widened", "Int64", "Float64", "accept")]
    table = tables.open("t")
    assert table.read()["a"].to_list() == [1.0, 2.0, 3.0, None, 4.0, 5.0, 0.5, 6.0]
    assert table.read(version=before)["a"].to_list() == [1, 2, 3, None]
    assert table.read(version=before).schema["a"] == pl.Int64
    assert "widen" in [version.operation for version in table.versions()]
    assert sum(version.rows for version in table.versions()) == 8
    again = ingest(tables, spec(), rows(3, a=[0.5, 6]), Window(T0 + 3 * HOUR, T0 + 4 * HOUR))
    assert again == done
    table.compact()
    assert table.read()["a"].to_list() == [1.0, 2.0, 3.0, None, 4.0, 5.0, 0.5, 6.0]


def test_a_widened_table_is_delta_for_others(tables):
    deltalake = pytest.importorskip("deltalake")
    take(tables, spec(), 0, a=[1, 2])
    take(tables, spec(), 1, a=[0.5])
    other = deltalake.DeltaTable(tables.open("t").uri)
    assert pl.read_delta(other)["a"].sort().to_list() == [0.5, 1.0, 2.0]


def test_whole_numbers_beyond_a_floats_reach_are_not_widened(tables):
    take(tables, spec(), 0, a=[2**53 + 1])
    with pytest.raises(Conflict, match="does not hold exactly"):
        take(tables, spec(), 1, a=[0.5])
    assert tables.open("t").read()["a"].to_list() == [2**53 + 1]
    assert take(tables, spec(), 1, a=[7]).rows == 1


@pytest.mark.parametrize("declared", [True, False])
def test_a_widened_column_quarantined(tables, declared):
    columns = {"id": pl.String(), "at": pl.Datetime("us", "UTC"), "a": pl.Int64()} if declared else None
    rules = {} if declared else {"widened": "quarantine"}
    take(tables, spec(columns, **rules), 0, a=[1])
    done = take(tables, spec(columns, **rules), 1, a=[2.0, 2.5])
    assert (done.rows, done.reasons) == (1, {"wrong_type:a" if declared else "too_wide:a": 1})
    assert [json.loads(row)["a"] for row in quarantined(tables, "t")["row"]] == [2.5]
    assert tables.open("t").read()["a"].to_list() == [1, 2]


def test_a_retyped_column_keeps_what_can_be_read(tables):
    take(tables, spec(), 0, a=[1])
    done = take(tables, spec(), 1, a=["2", "n/a", None])
    assert (done.rows, done.reasons) == (2, {"wrong_type:a": 1})
    assert done.changes == [SchemaChange("a", "retyped", "Int64", "String", "quarantine", 1)]
    assert [json.loads(row)["a"] for row in quarantined(tables, "t")["row"]] == ["n/a"]
    with pytest.raises(InvalidInput, match="column 'a' is String"):
        take(tables, spec(retyped="refuse"), 2, a=["n/a"])
    assert take(tables, spec(), 2, a=[True, False]).rows == 2
    assert tables.open("t").read()["a"].to_list() == [1, 2, None, 1, 0]


def test_times_that_are_none_are_quarantined_with_what_they_say(tables):
    frame = pl.DataFrame({"id": ["a", "b"], "at": ["2024-01-01T00:30:00Z", "soon"]})
    done = ingest(tables, spec(), frame, Window(T0, T0 + HOUR))
    assert (done.rows, done.reasons) == (1, {"wrong_type:at": 1})
    assert [json.loads(row)["at"] for row in quarantined(tables, "t")["row"]] == ["soon"]


@pytest.mark.parametrize(("rule", "kept"), [("accept", 2), ("quarantine", 0), ("refuse", None)])
def test_an_emptied_column(tables, rule, kept):
    source = spec(emptied=rule)
    take(tables, source, 0, a=[1], b=[None])
    assert take(tables, source, 1, a=[None, 1], b=[None, None]).rows == 2
    if kept is None:
        with pytest.raises(InvalidInput, match="null in every row"):
            take(tables, source, 2, a=[None, None])
    else:
        assert take(tables, source, 2, a=[None, None]).rows == kept


@pytest.mark.parametrize("dtype", [pl.Enum(["x", "y"]), pl.Categorical()])
def test_new_categories(tables, dtype):
    columns = {"id": pl.String(), "at": pl.Datetime("us", "UTC"), "a": dtype}
    take(tables, spec(columns, categories="quarantine"), 0, a=["x", "y"])
    done = take(tables, spec(columns, categories="quarantine"), 1, a=["x", "z", None])
    assert (done.rows, done.reasons) == (2, {"new_category:a": 1})
    with pytest.raises(InvalidInput, match="new values: z"):
        take(tables, spec(columns, categories="refuse"), 2, a=["z"])
    assert take(tables, spec(columns), 2, a=["z"]).changes == [SchemaChange("a", "categories", None, "z", "accept")]
    assert tables.open("t").schema.columns["a"] == pl.String


def test_a_declaration_may_widen_and_drop_columns(tables):
    base = {"id": pl.String(), "at": pl.Datetime("us", "UTC")}
    take(tables, spec({**base, "a": pl.Int64(), "b": pl.Int64()}), 0, a=[1], b=[1])
    take(tables, spec({**base, "a": pl.Float64()}), 1, a=[0.5], b=[2])
    assert tables.open("t").read().select("a", "b").rows() == [(1.0, 1), (0.5, None)]
    with pytest.raises(Conflict, match="changes from Float64 to String"):
        take(tables, spec({**base, "a": pl.String()}), 2, a=["x"])


def test_an_unknown_rule_is_refused():
    with pytest.raises(InvalidInput, match="retyped='accept'"):
        evolve(retyped="accept")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "values", "superseded"), [("first", [1, 3], 1), ("last", [2, 3], 1), ("quarantine", [3], 0)]
)
def test_rows_that_contradict_each_other(tables, rule, values, superseded):
    done = take(tables, spec(deduped=dedupe(conflicts=rule)), 0, id=["a", "a", "a", "b"], a=[1, 2, 2, 3])
    assert (tables.open("t").read()["a"].to_list(), done.collapsed, done.superseded) == (values, 1, superseded)
    assert done.quarantined == (2 if rule == "quarantine" else 0)


def test_rows_that_say_what_is_known_are_dropped(tables):
    source = spec(deduped=dedupe(unchanged="drop"))
    assert take(tables, source, 0, id=["a", "b"], a=[1, 2]).rows == 2
    again = take(tables, source, 1, id=["a", "b", "c"], a=[1, 5, 9])
    assert (again.rows, again.unchanged) == (2, 1)
    assert take(tables, source, 2, id=["b"], a=[2]).rows == 1  # back to what it was: that is news
    frame = pl.DataFrame({"id": ["b"] * 3, "at": [T0 + (3 + n / 4) * HOUR for n in (1, 2, 3)], "a": [7, 7, 2]})
    assert ingest(tables, source, frame, Window(T0 + 3 * HOUR, T0 + 4 * HOUR)).rows == 2
    assert tables.open("t").current().sort("id")["a"].to_list() == [1, 2, 9]
