import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopline.errors import Conflict, InvalidInput, LooplineError
from loopline.tables import Ingested, SourceSpec, Tables, ingest, ingested, quarantine, quarantined
from loopline.values import EPOCH, Window, micros

COLUMNS = {
    "flight_id": pl.String(),
    "carrier": pl.String(),
    "arrived_at": pl.Datetime("us", "UTC"),
    "delay": pl.Float64(),
    "distance": pl.Int64(),
}
SPEC = SourceSpec("arrivals", "flight_id", "arrived_at", "arrived_at", columns=COLUMNS)


@pytest.fixture
def window(at):
    return Window(at(0), at(1))


@pytest.fixture
def frame(at):
    return pl.DataFrame(
        {
            "flight_id": ["a", "b", "c"],
            "carrier": ["AA", "BB", None],
            "arrived_at": [at(0.25), at(0.5), at(1)],
            "delay": [1.0, None, -3.0],
            "distance": [100, 200, 300],
        },
        schema=COLUMNS,
    )


def test_good_rows_land_with_key_and_times(tables, frame, window):
    done = ingest(tables, SPEC, frame, window, provenance={"code": "sha256:c", "inputs": ["raw@7"]})
    assert done == Ingested("arrivals", 1, 3)
    table = tables.open("arrivals")
    rows = table.read()
    assert rows.select(*COLUMNS).equals(frame)
    assert rows["_key"].to_list() == ["a", "b", "c"]
    assert rows["_event_time"].equals(frame["arrived_at"], check_names=False)
    assert rows["_known_at"].equals(frame["arrived_at"], check_names=False)
    assert not rows["_tombstone"].any()
    assert table.versions()[1].provenance == {
        "code": "sha256:c",
        "inputs": ["raw@7"],
        "source": "arrivals",
        "window_start": "2024-01-01T00:00:00Z",
        "window_end": "2024-01-01T01:00:00Z",
        "rows": 3,
        "quarantined": 0,
        "collapsed": 0,
        "reasons": {},
    }
    assert not tables.exists("arrivals.quarantine")
    assert quarantined(tables, "arrivals").is_empty()


def corrupt(frame: pl.DataFrame, **values: object) -> pl.DataFrame:
    """The frame with other values in its first row."""
    changed = [
        pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(value, COLUMNS[name])).otherwise(name).alias(name)
        for name, value in values.items()
    ]
    return frame.with_columns(changed)


@pytest.mark.parametrize(
    ("reason", "values"),
    [
        ("null_key", {"flight_id": None}),
        ("null_time", {"arrived_at": None}),
        ("known_in_future", {"arrived_at": EPOCH + timedelta(days=40_000)}),
        ("known_before_window", {"arrived_at": EPOCH}),
        ("not_finite", {"delay": float("nan")}),
        ("not_finite", {"delay": float("-inf")}),
        ("far", {"distance": 99_999}),
    ],
)
def test_each_bad_row_goes_to_quarantine_with_its_reason(tables, frame, window, reason, values):
    spec = replace(SPEC, rows={"far": pl.col("distance") < 10_000})
    done = ingest(tables, spec, corrupt(frame, **values), window)
    assert (done.rows, done.quarantined, done.reasons) == (2, 1, {reason: 1})
    assert tables.open("arrivals").read()["_key"].to_list() == ["b", "c"]
    bad = quarantined(tables, "arrivals").row(0, named=True)
    assert (bad["_reason"], bad["_window_start"], bad["_window_end"]) == (reason, window.start, window.end)
    assert json.loads(bad["row"])["carrier"] == "AA"


def test_the_window_holds_its_end_and_not_its_start(tables, frame, window):
    edges = frame.with_columns(arrived_at=pl.Series([window.start, window.end, window.end + timedelta(microseconds=1)]))
    assert ingest(tables, SPEC, edges, window).reasons == {"known_before_window": 1, "known_in_future": 1}
    assert tables.open("arrivals").read()["_key"].to_list() == ["b"]


def test_quarantine_shows_what_json_cannot_say(tables, frame, window):
    bad = frame.with_columns(delay=pl.Series([float("nan"), float("inf"), 1.5]))
    ingest(tables, SPEC, bad, window)
    assert [json.loads(row)["delay"] for row in quarantined(tables, "arrivals")["row"]] == ["NaN", "inf"]


def test_identical_rows_are_one_and_contradicting_ones_none(tables, frame, window):
    doubled = pl.concat([frame, frame.head(1), frame.slice(1, 1).with_columns(delay=pl.lit(9.0))])
    done = ingest(tables, SPEC, doubled, window)
    assert (done.rows, done.quarantined, done.collapsed) == (2, 2, 1)
    assert done.reasons == {"duplicate_key": 2}
    assert tables.open("arrivals").read()["_key"].to_list() == ["a", "c"]


def test_versions_of_one_key_in_one_frame_are_no_duplicates(tables, frame, window):
    corrections = frame.with_columns(flight_id=pl.lit("a"))
    assert ingest(tables, SPEC, corrections, window).rows == 3
    assert tables.open("arrivals").current()["delay"].to_list() == [-3.0]


def test_expectations_pass_nulls_and_skip_tombstones(tables, frame, window):
    spec = replace(
        SPEC, tombstone="gone", rows={"delayed": pl.col("delay") > 0, "named": pl.col("carrier").is_not_null()}
    )
    with_flag = frame.with_columns(gone=pl.Series([None, False, True]))
    assert ingest(tables, spec, with_flag, window).reasons == {}
    rows = tables.open("arrivals").read()
    assert rows["_tombstone"].to_list() == [False, False, True]
    assert "gone" not in rows.columns
    assert tables.open("arrivals").current()["_key"].to_list() == ["a", "b"]


def test_a_row_that_fails_several_expectations_gets_the_first(tables, frame, window):
    spec = replace(SPEC, rows={"late": pl.col("delay") < 0, "near": pl.col("distance") > 100})
    assert ingest(tables, spec, frame, window).reasons == {"late": 1}


@pytest.mark.parametrize("rule", [pl.col("delay") + 1, pl.col("missing") > 1])
def test_expectations_that_cannot_be_evaluated_are_refused(tables, frame, window, rule):
    with pytest.raises(InvalidInput) as caught:
        ingest(tables, replace(SPEC, rows={"rule": rule}), frame, window)
    assert caught.value.code == "source.bad_expectation"
    assert tables.names() == []


class Failure:
    """A dataframely failure, as far as ingestion looks at it."""

    def __init__(self, details: pl.DataFrame) -> None:
        self._details = details

    def details(self) -> pl.DataFrame:
        return self._details


class ShortHaul:
    """What `dataframely.Schema.filter` gives for two rules on some of the columns."""

    @staticmethod
    def filter(df: pl.DataFrame) -> tuple[pl.DataFrame, Failure]:
        verdict = pl.Enum(["valid", "invalid", "unknown"])
        rules = {"distance|max": pl.col("distance") <= 200, "carrier|nullability": pl.col("carrier").is_not_null()}
        own = df.select("carrier", "distance")
        checked = own.with_columns(
            **{
                name: pl.when(rule).then(pl.lit("valid")).otherwise(pl.lit("invalid")).cast(verdict)
                for name, rule in rules.items()
            }
        )
        good = pl.all_horizontal(pl.col(name) == "valid" for name in rules)
        return own.filter(checked.select(good).to_series()), Failure(checked.filter(~good))


def test_a_row_schema_splits_rows(tables, frame, window):
    done = ingest(tables, replace(SPEC, rows=ShortHaul), frame, window)
    assert done.reasons == {"distance|max": 1}
    assert tables.open("arrivals").read()["_key"].to_list() == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda frame: frame.with_columns(extra=1), "table.unknown_column"),
        (lambda frame: frame.drop("delay"), "table.missing_column"),
        (lambda frame: frame.with_columns(pl.col("distance").cast(pl.Float64)), "table.wrong_dtype"),
        (lambda frame: frame.with_columns(pl.col("distance").cast(pl.UInt64)), "table.wrong_dtype"),
        (lambda frame: frame.with_columns(delay=pl.lit(1, pl.Int64)), "table.wrong_dtype"),
        (lambda frame: frame.with_columns(pl.col("arrived_at").dt.date()), "table.wrong_dtype"),
        (lambda frame: frame.with_columns(pl.col("arrived_at").dt.replace_time_zone(None)), "ingest.time_without_zone"),
    ],
)
def test_bad_frames_are_refused_whole_and_nothing_is_written(tables, frame, window, tmp_path, change, code):
    with pytest.raises(InvalidInput) as caught:
        ingest(tables, SPEC, change(frame), window)
    assert caught.value.code == code
    assert caught.value.remedy
    assert not (tmp_path / "tables").exists()


def test_values_are_kept_by_safe_casts(tables, frame, window):
    cast = frame.with_columns(
        pl.col("distance").cast(pl.UInt32),
        pl.col("delay").cast(pl.Float32),
        pl.col("carrier").cast(pl.Categorical),
        pl.col("arrived_at").dt.convert_time_zone("America/New_York").dt.cast_time_unit("ns"),
    )
    ingest(tables, SPEC, cast, window)
    assert tables.open("arrivals").read().select(*COLUMNS).equals(frame)
    finer = cast.with_columns(pl.col("arrived_at") - pl.duration(nanoseconds=1, time_unit="ns"))
    with pytest.raises(InvalidInput):
        ingest(tables, SPEC, finer, Window(window.start, window.end + timedelta(hours=1)))


def test_columns_are_taken_from_the_first_frame_with_rows(tables, frame, at):
    spec = replace(SPEC, columns=None)
    assert ingest(tables, spec, pl.DataFrame(), Window(at(-2), at(-1))).rows == 0
    assert ingest(tables, spec, frame.clear(), Window(at(-1), at(0))).rows == 0
    small = frame.with_columns(pl.col("distance").cast(pl.UInt16), pl.col("carrier").cast(pl.Categorical))
    assert ingest(tables, spec, small, Window(at(0), at(1))).rows == 3
    assert dict(tables.open("arrivals").schema.columns) == {**COLUMNS, "distance": pl.Int32()}
    with pytest.raises(InvalidInput, match="extra"):
        ingest(tables, spec, frame.with_columns(extra=1), Window(at(1), at(2)))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda frame: frame.with_columns(nothing=None), "table.unsupported_dtype"),
        (lambda frame: frame.drop("flight_id"), "table.missing_column"),
        (lambda frame: frame.with_columns(pl.col("arrived_at").dt.replace_time_zone(None)), "ingest.time_without_zone"),
        (lambda frame: frame.with_columns(flight_id=pl.lit(1.5)), "source.bad_key"),
    ],
)
def test_first_frames_that_give_no_schema_are_refused(tables, frame, window, change, code):
    with pytest.raises(InvalidInput) as caught:
        ingest(tables, replace(SPEC, columns=None), change(frame), window)
    assert caught.value.code == code
    assert tables.names() == []


def test_declared_columns_may_be_added_later(tables, frame, at):
    ingest(tables, SPEC, frame, Window(at(0), at(1)))
    wider = replace(SPEC, columns={**COLUMNS, "gate": pl.String})
    later = frame.with_columns(pl.col("arrived_at") + pl.duration(hours=1), gate=pl.lit("A1"))
    ingest(tables, wider, later, Window(at(1), at(2)))
    assert tables.open("arrivals").read()["gate"].to_list() == [None] * 3 + ["A1"] * 3
    with pytest.raises(Conflict) as caught:
        ingest(tables, SPEC, frame, Window(at(2), at(3)))
    assert caught.value.code == "table.schema_changed"


def test_empty_windows_are_recorded(tables, window):
    assert ingested(tables, SPEC, window) is None
    assert ingest(tables, SPEC, pl.DataFrame({"whatever": []}), window) == Ingested("arrivals", 1, 0)
    assert ingested(tables, SPEC, window) == Ingested("arrivals", 1, 0)


def test_a_window_is_ingested_once(tables, frame, window, reopened):
    bad = corrupt(frame, delay=float("nan"))
    first = ingest(tables, SPEC, bad, window)
    again = ingest(reopened(), SPEC, frame, window)
    assert again == first == ingested(tables, SPEC, window)
    assert tables.open("arrivals").read().height == 2
    assert quarantined(tables, "arrivals").height == 1


def test_a_crash_between_quarantine_and_table_heals(tables, frame, window):
    """Up to the quarantine's commit everything has happened; the table's has not."""
    bad = corrupt(frame, delay=float("nan"))
    there = tables.create("arrivals.quarantine", quarantine.schema(personal=False))
    rows = there.schema.empty().clear(1).with_columns(_key=pl.lit("a"), _event_time=window.end, _known_at=window.end)
    rows = rows.with_columns(pl.col("_event_time", "_known_at").dt.cast_time_unit("us"), _tombstone=pl.lit(value=False))
    there.append(rows, writer="ingest", sequence=micros(window.end))
    done = ingest(tables, SPEC, bad, window)
    assert (done.rows, done.quarantined) == (2, 1)
    assert quarantined(tables, "arrivals").height == 1


def test_windows_out_of_order_are_refused_and_nothing_is_written(tables, frame, at):
    ingest(tables, SPEC, pl.DataFrame(), Window(at(1), at(2)))
    with pytest.raises(Conflict) as caught:
        ingest(tables, SPEC, corrupt(frame, delay=float("nan")), Window(at(0), at(1)))
    assert caught.value.code == "table.sequence_passed"
    assert tables.names() == ["arrivals"]
    assert tables.open("arrivals").version == 1


def test_quarantined_rows_are_chosen_by_window_and_reason(tables, frame, at):
    for hour in range(3):
        known = pl.Series([at(hour + 1)] * 3)
        bad = corrupt(frame.with_columns(arrived_at=known), delay=float("nan"))
        ingest(tables, SPEC, corrupt(bad, flight_id=None if hour == 2 else "a"), Window(at(hour), at(hour + 1)))
    assert quarantined(tables, "arrivals")["_reason"].to_list() == ["not_finite", "not_finite", "null_key"]
    assert quarantined(tables, "arrivals", reason="null_key")["_window_end"].to_list() == [at(3)]
    assert quarantined(tables, "arrivals", window=Window(at(0), at(2))).height == 2


def test_personal_columns_stay_tagged_in_table_and_quarantine(tables, frame, window):
    spec = replace(SPEC, personal=("carrier",))
    ingest(tables, spec, corrupt(frame, delay=float("nan")), window)
    assert tables.open("arrivals").schema.personal == ("carrier",)
    assert tables.open("arrivals.quarantine").schema.personal == ("row",)


def test_keys_of_several_columns_never_meet(tables, frame, window):
    spec = replace(SPEC, key=("carrier", "flight_id"))
    pairs = frame.with_columns(carrier=pl.Series(["a|b", "a", "a\\"]), flight_id=pl.Series(["c", "b|c", "b"]))
    ingest(tables, spec, pairs, window)
    assert tables.open("arrivals").read()["_key"].to_list() == [r"a\|b|c", r"a|b\|c", r"a\\|b"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"key": ()}, "source.no_key"),
        ({"event_time": "when"}, "source.undeclared_column"),
        ({"personal": ("who",)}, "source.undeclared_column"),
    ],
)
def test_specs_that_make_no_sense_are_refused(change, code):
    with pytest.raises(InvalidInput) as caught:
        replace(SPEC, **change)
    assert caught.value.code == code


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", None]),
            st.none() | st.integers(-1, 4),
            st.sampled_from([0.0, 1.0, float("nan"), float("inf"), None]),
        ),
        max_size=12,
    )
)
def test_every_row_is_in_the_table_or_in_quarantine_or_collapsed(rows, tmp_path_factory):
    schema = {"k": pl.String(), "t": pl.Datetime("us", "UTC"), "x": pl.Float64()}
    frame = pl.DataFrame(
        [(key, None if hour is None else EPOCH + timedelta(hours=hour), x) for key, hour, x in rows],
        schema,
        orient="row",
    )
    tables = Tables(Path(tmp_path_factory.mktemp("tables")), durable=False)
    spec = SourceSpec("s", "k", "t", "t", columns=schema)
    done = ingest(tables, spec, frame, Window(EPOCH, EPOCH + timedelta(hours=3)))
    assert done.rows + done.quarantined + done.collapsed == len(rows)
    assert sum(done.reasons.values()) == done.quarantined == quarantined(tables, "s").height
    clean = {row for row in rows if row[0] and row[1] is not None and 0 < row[1] <= 3 and row[2] in (0.0, 1.0, None)}
    alone = {row for row in clean if not any(row[:2] == other[:2] and row != other for other in clean)}
    found = tables.open("s").read()
    assert found.height == len(alone)
    hours = (found["t"] - EPOCH).dt.total_hours()
    assert set(zip(found["k"], hours, found["x"], strict=True)) == alone


def test_every_refusal_has_a_remedy(tables, frame, window):
    with pytest.raises(LooplineError) as caught:
        ingest(tables, SPEC, frame.drop("delay"), window)
    assert set(caught.value.as_dict()) == {"code", "message", "remedy", "context"}
