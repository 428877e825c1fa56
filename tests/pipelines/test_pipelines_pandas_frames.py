"""pandas frames as Parquet and back: equal in every detail that pandas itself compares."""

import io
from datetime import date

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from loopline.errors import Corrupt, InvalidInput
from loopline.pipelines.pandas_frames import decode_pandas, encode_pandas

WIDE = pd.DataFrame(
    {
        "int": np.array([1, 2, 3], dtype="int16"),
        "float": [1.5, np.nan, -np.inf],
        "truth": [True, False, True],
        "text": ["x", None, "zä\n"],
        "mixed": pd.Series([1, "x", None], dtype=object),
        "lists": pd.Series([[1, 2], [], None], dtype=object),
        "dates": pd.Series([date(2024, 1, 1), None, date(2024, 2, 1)], dtype=object),
        "category": pd.Categorical(["u", "v", None], categories=["v", "u", "w"], ordered=True),
        "time": pd.to_datetime(["2024-01-01", None, "2024-01-03"]),
        "zoned": pd.to_datetime(["2024-01-01", "2024-07-02", None]).tz_localize("Europe/Berlin"),
        "delta": pd.to_timedelta([1, 2, 3], unit="h"),
        "maybe": pd.array([1, None, 3], dtype="Int64"),
        "perhaps": pd.array([True, None, False], dtype="boolean"),
        "bins": pd.cut([1, 5, 9], 3),
        "string": pd.array(["a", None, "c"], dtype="string"),
    }
)

FRAMES = {
    "wide": WIDE,
    "filtered": WIDE[WIDE["int"] > 1],
    "no rows": WIDE.iloc[:0],
    "no columns": WIDE[[]],
    "nothing": pd.DataFrame(),
    "index of times": WIDE.set_index("time"),
    "index of days": WIDE.set_index(pd.date_range("2024", periods=3, freq="D", name="day")),
    "index of text": WIDE.set_index("text"),
    "two levels": WIDE.set_index(["int", "text"]),
    "grouped": WIDE.groupby("truth")[["int", "float"]].agg(["mean", "max"]),
    "described": WIDE[["int"]].describe(),
    "columns of numbers": WIDE.rename(columns={"int": 0, "float": 1})[[0, 1]],
    "same names": pd.concat([WIDE[["int"]], WIDE[["int"]]], axis=1),
    "step": WIDE.iloc[::2],
    "columns of times": pd.DataFrame([[1, 2]], columns=pd.to_datetime(["2024-01-01", "2024-01-02"])),
    "pivoted": WIDE.pivot_table(index="int", columns="text", values="float", aggfunc="sum", dropna=False),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_comes_back_as_it_went(name):
    pd.testing.assert_frame_equal(decode_pandas(encode_pandas(FRAMES[name])), FRAMES[name], check_freq=True)


@pytest.mark.parametrize(
    "series",
    [
        WIDE["text"],
        WIDE["category"],
        WIDE["float"].rename(None),
        WIDE.groupby("truth").size(),
        WIDE["text"].value_counts(),
        WIDE["bins"],
        pd.Series(dtype=float),
    ],
)
def test_a_series_comes_back_as_it_went(series):
    pd.testing.assert_series_equal(decode_pandas(encode_pandas(series)), series)


def test_kinds_of_missing_stay_apart():
    odd = pd.DataFrame({"a": pd.Series([None, np.nan, pd.NA, pd.NaT, "x"], dtype=object)})
    made = decode_pandas(encode_pandas(odd))["a"]
    assert made[0] is None
    assert isinstance(made[1], float)
    assert made[2] is pd.NA
    assert made[3] is pd.NaT


columns = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3).map(lambda held: pd.Series(held, dtype="int64")),
    st.lists(st.floats(), min_size=3, max_size=3).map(lambda held: pd.Series(held, dtype="float64")),
    st.lists(st.one_of(st.none(), st.text()), min_size=3, max_size=3).map(lambda held: pd.Series(held, dtype=object)),
    st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]))), min_size=3, max_size=3).map(
        lambda held: pd.Series(held, dtype="str")
    ),
    st.lists(st.integers(-(2**62), 2**62), min_size=3, max_size=3).map(
        lambda held: pd.Series(np.array(held).view("datetime64[ns]"))
    ),
    st.lists(st.sampled_from(["a", "b"]), min_size=3, max_size=3).map(lambda held: pd.Series(held, dtype="category")),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(columns, max_size=4), st.permutations([0, 1, 2]))
def test_any_frame_of_plain_columns_comes_back(held, order):
    frame = pd.DataFrame({f"n{place}": series for place, series in enumerate(held)}, index=pd.RangeIndex(3)).iloc[order]
    pd.testing.assert_frame_equal(decode_pandas(encode_pandas(frame)), frame)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"bad": [object()]}),
        pd.DataFrame({"bad": pd.period_range("2024", periods=1, freq="D")}),
        pd.DataFrame({"bad": [1 + 2j]}),
    ],
)
def test_what_parquet_has_no_type_for_is_refused_by_name(frame):
    with pytest.raises(InvalidInput, match="'bad'") as caught:
        encode_pandas(frame)
    assert caught.value.code == "pandas_frame.unsupported"


def test_other_tools_read_the_columns():
    assert pl.read_parquet(io.BytesIO(encode_pandas(WIDE[["int", "float"]]))).columns == ["c0", "c1"]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all"])
def test_other_bytes_are_refused(content):
    with pytest.raises(Corrupt):
        decode_pandas(content)


def test_parquet_of_something_else_is_refused():
    file = io.BytesIO()
    pl.DataFrame({"a": [1]}).write_parquet(file)
    with pytest.raises(Corrupt):
        decode_pandas(file.getvalue())
