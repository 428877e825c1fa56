"""A frame's contract refuses what a request's does, row by row, for the same reason."""

from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.scoring.asked import Asked
from loopline.scoring.batch.frame_contract import REASON, FrameContract
from loopline.scoring.contract import Contract

_spec = spec_from_file_location("batch_work", Path(__file__).with_name("batch_work.py"))
work = module_from_spec(_spec)
_spec.loader.exec_module(work)

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
SIGNATURE = work.Sum().signature
ROW = {"flight": "a", "departs": AT, "distance": 1.0, "carrier": "UA", "dewpoint": None}
DTYPES = {
    "flight": pl.String,
    "departs": pl.Datetime("us", "UTC"),
    "distance": pl.Float64,
    "carrier": pl.String,
    "dewpoint": pl.Float64,
}
numbers = st.none() | st.floats() | st.sampled_from([3.4028234e38, 3.5e38, -3.5e38])


def frame_reasons(frame: pl.DataFrame, **changed) -> list[str | None]:
    return FrameContract(SIGNATURE, work.deployment(), **changed).read(frame, 0)[REASON].to_list()


def row_reason(row: dict) -> str | None:
    contract = Contract(SIGNATURE, key="flight", at="departs")
    try:
        columns = contract.read([row])
        contract.check(columns)
        matrix = contract.encode(columns, 1)
        contract.treat(matrix, Asked([row["flight"]], [], columns, None))
    except InvalidInput as error:
        return f"{error.code}:{error.context['column']}"
    return None


rows = st.fixed_dictionaries(
    {
        "flight": st.sampled_from(["a", "", None]),
        "departs": st.sampled_from([AT, AT, None]),
        "distance": numbers,
        "carrier": st.sampled_from(["UA", "", "??", None]),
        "dewpoint": numbers,
    }
)


@given(st.lists(rows, min_size=1, max_size=20))
def test_rows_are_refused_for_the_reason_of_a_request(given_rows):
    assert frame_reasons(pl.DataFrame(given_rows, schema=DTYPES)) == [row_reason(row) for row in given_rows]


@pytest.mark.parametrize(
    ("name", "column", "said", "reason"),
    [
        ("flight", pl.Series([7]), "7", None),
        ("flight", pl.Series([7.0]), None, "scoring.bad_key:flight"),
        ("departs", pl.Series([1777636800000000]), AT, None),
        ("departs", pl.Series(["2026-05-01T14:00:00+02:00"]), AT, None),
        ("departs", pl.Series(["2026-05-01T12:00:00"]), None, "scoring.bad_time:departs"),
        ("departs", pl.Series(["tomorrow"]), None, "scoring.bad_time:departs"),
        ("departs", pl.Series([AT.replace(tzinfo=None)]), None, "scoring.bad_time:departs"),
        ("departs", pl.Series([AT.date()]), None, "scoring.bad_time:departs"),
        ("distance", pl.Series(["1"]), None, "scoring.not_a_number:distance"),
        ("distance", pl.Series([True]), 1.0, None),
        ("distance", pl.Series([2**40]), float(2**40), None),
        ("distance", pl.Series([None]), None, None),
        ("carrier", pl.Series([1]), None, "scoring.not_a_category:carrier"),
        ("carrier", pl.Series(["UA"], dtype=pl.Categorical), "UA", None),
    ],
)
def test_columns_are_read_or_refused_by_their_type(name, column, said, reason):
    frame = pl.DataFrame([ROW], schema=DTYPES).with_columns(column.alias(name))
    read = FrameContract(SIGNATURE, work.deployment()).read(frame, 0)
    assert (read[name][0], read[REASON][0]) == (said, reason)


@pytest.mark.parametrize(
    ("name", "text", "said", "reason"),
    [
        ("flight", "007", "007", None),
        ("distance", " 1.5 ", 1.5, None),
        ("distance", "", None, None),
        ("distance", "1,5", None, "scoring.not_a_number:distance"),
        ("distance", "1e39", 1e39, "scoring.not_finite:distance"),
        ("departs", "2026-05-01 12:00:00Z", AT, None),
        ("carrier", "1", "1", None),
    ],
)
def test_text_is_read_as_what_the_model_takes(name, text, said, reason):
    row = {"flight": "a", "departs": "2026-05-01T12:00:00Z", "distance": "1", "carrier": "UA", "dewpoint": None} | {
        name: text
    }
    read = FrameContract(SIGNATURE, work.deployment(), text=True).read(
        pl.DataFrame([row], schema=dict.fromkeys(row, pl.String)), 0
    )
    assert (read[name][0], read[REASON][0]) == (said, reason)


def test_a_zone_is_needed_once_and_then_kept():
    frame = pl.DataFrame([ROW], schema=DTYPES).with_columns(departs=pl.lit(AT.replace(tzinfo=None)))
    read = FrameContract(SIGNATURE, work.deployment(), zone="Europe/Berlin").read(frame, 0)
    assert (read["departs"][0], read[REASON][0]) == (AT.replace(hour=10), None)


def test_what_is_missing_is_named_and_what_nobody_asked_for_is_left_out():
    frame = pl.DataFrame([ROW], schema=DTYPES).with_columns(other=1)
    assert "other" not in FrameContract(SIGNATURE, work.deployment()).read(frame, 0).columns
    with pytest.raises(InvalidInput, match="no column 'carrier', 'dewpoint'"):
        FrameContract(SIGNATURE, work.deployment()).read(frame.drop("carrier", "dewpoint"), 0)


def test_keys_are_made_of_their_columns_or_are_the_tables_or_the_rows_numbers():
    frame = pl.DataFrame([ROW], schema=DTYPES).drop("flight").with_columns(day=1, line=pl.lit("x"))
    of_two = FrameContract(SIGNATURE, work.deployment(), key_columns=("day", "line")).read(frame, 0)
    of_table = FrameContract(SIGNATURE, work.deployment()).read(frame.with_columns(_key=pl.lit("k")), 0)
    bare = FrameContract(SIGNATURE, work.deployment(fills=True), now=AT).read(frame.drop("departs"), 41)
    assert [one["flight"][0] for one in (of_two, of_table, bare)] == ["1|x", "k", "41"]
    assert bare["departs"][0] == AT
