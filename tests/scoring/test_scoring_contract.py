import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.models.signature import Field, Signature
from loopline.scoring.contract import Contract

GOOD = {"id": "a", "at": "2026-05-01T12:00:00Z", "distance": 100.0, "carrier": "UA", "dewpoint": None}

SIGNATURE = Signature(
    fields=(
        Field(name="distance", kind="number", given=True, minimum=10.0, maximum=5000.0),
        Field(name="carrier", kind="category", given=True, categories=("UA", "AA")),
        Field(name="dewpoint", kind="number", given=True, minimum=-30.0, maximum=30.0, nulls=True),
        Field(name="delay", kind="number", given=False, minimum=-60.0, maximum=600.0),
    )
)


@dataclass
class Given:
    """Rows as columns, of somebody who waits."""

    columns: dict
    count: int = 1
    gaps: dict = field(default_factory=dict)
    refuses: bool = True

    def cell(self, index, name):
        return self.columns.get(name, [None] * self.count)[index]


def checked(contract, rows):
    """What happens to a request before it is scored."""
    columns = contract.read(rows)
    found = contract.check(columns)
    matrix = contract.encode(columns, len(rows))
    contract.treat(matrix, Given(columns, len(rows)))
    return found


@pytest.fixture
def contract():
    return Contract(SIGNATURE, key="id", at="at")


def test_good_rows_give_keys_and_times_in_utc(contract):
    second = {**GOOD, "id": "b", "at": "2026-05-01T12:00:00+02:00", "distance": 7, "dewpoint": float("nan")}
    third = {**GOOD, "id": "c", "at": 1_000_001, "carrier": None}
    fourth = {**GOOD, "id": "d", "at": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))}
    keys, times = checked(contract, [GOOD, second, third, fourth])
    assert keys == ["a", "b", "c", "d"]
    assert times == [
        datetime(2026, 5, 1, 12, tzinfo=UTC),
        datetime(2026, 5, 1, 10, tzinfo=UTC),
        datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC),
        datetime(2025, 12, 31, 23, tzinfo=UTC),
    ]


@pytest.mark.parametrize(
    ("change", "code", "column"),
    [
        ({"extra": 1}, "scoring.unknown_column", "extra"),
        ({"delay": 1.0}, "scoring.unknown_column", "delay"),
        ({"distance": "100"}, "scoring.not_a_number", "distance"),
        ({"distance": True}, "scoring.not_a_number", "distance"),
        ({"distance": [1]}, "scoring.not_a_number", "distance"),
        ({"distance": {}}, "scoring.not_a_number", "distance"),
        ({"distance": math.inf}, "scoring.not_finite", "distance"),
        ({"distance": -math.inf}, "scoring.not_finite", "distance"),
        ({"distance": 1e39}, "scoring.not_finite", "distance"),
        ({"distance": 10**400}, "scoring.not_finite", "distance"),
        ({"distance": np.float64(np.inf)}, "scoring.not_finite", "distance"),
        ({"carrier": 5}, "scoring.not_a_category", "carrier"),
        ({"carrier": False}, "scoring.not_a_category", "carrier"),
        ({"carrier": ["UA"]}, "scoring.not_a_category", "carrier"),
        ({"id": None}, "scoring.bad_key", "id"),
        ({"id": 7}, "scoring.bad_key", "id"),
        ({"id": ""}, "scoring.bad_key", "id"),
        ({"at": None}, "scoring.bad_time", "at"),
        ({"at": "2026-05-01T12:00:00"}, "scoring.bad_time", "at"),
        ({"at": "yesterday"}, "scoring.bad_time", "at"),
        ({"at": 1.5}, "scoring.bad_time", "at"),
        ({"at": True}, "scoring.bad_time", "at"),
        ({"at": 10**30}, "scoring.bad_time", "at"),
        ({"at": datetime(2026, 1, 1)}, "scoring.bad_time", "at"),  # noqa: DTZ001 - that is the mistake
    ],
)
def test_a_wrong_row_is_refused_by_row_and_column(contract, change, code, column):
    with pytest.raises(InvalidInput) as caught:
        checked(contract, [GOOD, {**GOOD, "id": "b", **change}])
    assert caught.value.code == code
    assert caught.value.context == {"row": 1, "column": column}
    assert "row 1" in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("column", ["id", "at", "distance", "carrier", "dewpoint"])
def test_a_missing_column_is_refused(contract, column):
    row = {name: value for name, value in GOOD.items() if name != column}
    with pytest.raises(InvalidInput) as caught:
        checked(contract, [row])
    assert caught.value.code == "scoring.missing_column"
    assert caught.value.context["column"] == column


def test_one_key_twice_in_a_request_is_refused(contract):
    with pytest.raises(InvalidInput) as caught:
        checked(contract, [GOOD, {**GOOD, "id": "b"}, GOOD])
    assert caught.value.code == "scoring.duplicate_key"
    assert caught.value.context["row"] == 2


def test_what_is_no_object_is_refused(contract):
    with pytest.raises(InvalidInput) as caught:
        checked(contract, [GOOD, [1, 2]])
    assert caught.value.code == "scoring.row_not_object"


def test_entities_are_columns_too():
    contract = Contract(SIGNATURE, key="id", at="at", entities=frozenset({"origin", "carrier"}))
    assert contract.columns == ("id", "at", "distance", "carrier", "dewpoint", "origin")
    assert checked(contract, [{**GOOD, "origin": None}])[0] == ["a"]
    for wrong in (1.5, True, ["x"]):
        with pytest.raises(InvalidInput, match="origin"):
            checked(contract, [{**GOOD, "origin": wrong}])


def test_without_a_signature_only_key_and_time_are_checked():
    contract = Contract(None, key="id", at="at")
    assert checked(contract, [{"id": "a", "at": 0, "whatever": object()}])[0] == ["a"]
    with pytest.raises(InvalidInput, match="at"):
        checked(contract, [{"id": "a"}])


numbers = (
    st.none()
    | st.floats(width=64, allow_infinity=False, min_value=-1e30, max_value=1e30)
    | st.integers(-(2**60), 2**60)
)


@settings(max_examples=50)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "distance": numbers,
                "carrier": st.sampled_from(["UA", "AA", "ZZ", None]),
                "dewpoint": numbers,
                "delay": numbers,
            }
        ),
        max_size=4,
    )
)
def test_rows_encode_as_the_signature_encodes_their_frame(rows):
    contract = Contract(SIGNATURE, key="id", at="at")
    schema = {"distance": pl.Float64, "carrier": pl.String, "dewpoint": pl.Float64, "delay": pl.Float64}
    frame = pl.DataFrame(
        {
            name: [row[name] if name == "carrier" or row[name] is None else float(row[name]) for row in rows]
            for name in schema
        },
        schema=schema,
    )
    columns = {name: [row[name] for row in rows] for name in schema}
    np.testing.assert_array_equal(contract.encode(columns, len(rows)), SIGNATURE.encode(frame))
    np.testing.assert_array_equal(contract.encode_frame(frame), SIGNATURE.encode(frame))


@settings(max_examples=100)
@given(
    st.fixed_dictionaries(
        {
            "distance": st.sampled_from([None, math.nan, 9.99, 10.0, 10, 5000.0, 5000.01]),
            "carrier": st.sampled_from(["UA", "ZZ", None]),
            "dewpoint": st.sampled_from([None, math.nan, -31.0, 0.0]),
            "delay": st.sampled_from([None, 601, 0.0]),
        }
    )
)
def test_oddities_follow_the_rules_one_by_one(row):
    contract = Contract(SIGNATURE, key="id", at="at")
    expected = []
    for one in SIGNATURE.fields:
        value = row[one.name]
        if value is None or (isinstance(value, float) and math.isnan(value)):
            if not one.nulls:
                expected.append(("null_unseen:" if one.given else "feature_missing:") + one.name)
        elif one.kind == "category":
            if value not in one.categories:
                expected.append(f"unseen_category:{one.name}")
        elif not one.minimum <= value <= one.maximum:
            expected.append(f"out_of_range:{one.name}")
    columns = {name: [value] for name, value in row.items()}
    matrix = contract.encode(columns, 1)
    assert (contract.treat(matrix, Given(columns)).codes or [()]) == [tuple(expected)]
    assert contract.ordinary(matrix) == (not expected and not np.isnan(matrix).any())
