"""Labels as known at a time, against a walk through the versions one by one."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.labels.label import Label
from loopline.labels.outcomes import known_labels, outcomes

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TIME = pl.Datetime("us", "UTC")
SCHEMA = {"_key": pl.String, "_event_time": TIME, "_known_at": TIME, "_tombstone": pl.Boolean, "delay": pl.Float64}

KEYS = [f"k{number}" for number in range(4)]
VERSIONS = st.lists(
    st.tuples(
        st.sampled_from(KEYS),
        st.integers(0, 20),
        st.booleans(),
        st.sampled_from([None, 3.0, 15.0, 16.0, 90.0]),
    ),
    max_size=16,
)


def late(**changes) -> Label:
    given_ = {"table": "arrivals", "expression": pl.col("delay") > 15, "matures": "6h"} | changes
    return Label(**given_)


def history(versions) -> pl.DataFrame:
    rows = [(key, T0, T0 + known * HOUR, gone, delay) for key, known, gone, delay in versions]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def predictions(pairs) -> pl.DataFrame:
    rows = [(key, T0 + hour * HOUR, 0.5) for key, hour in pairs]
    return pl.DataFrame(rows, schema={"_key": pl.String, "_event_time": TIME, "score": pl.Float64}, orient="row")


def walked(versions, key: str, as_of: int) -> tuple[float, datetime] | None:
    """The last version of the key known by then; of equals the one that was appended last."""
    last = None
    for version in versions:
        if version[0] == key and version[1] <= as_of and (last is None or version[1] >= last[1]):
            last = version
    if last is None or last[2] or last[3] is None:
        return None
    return float(last[3] > 15), T0 + last[1] * HOUR


@given(versions=VERSIONS, as_of=st.integers(-1, 21))
@settings(deadline=None, max_examples=50)
def test_the_label_is_that_of_the_version_in_force(versions, as_of):
    found = known_labels(history(versions), late(), as_of=T0 + as_of * HOUR)
    assert found.schema == {"_key": pl.String, "label": pl.Float64, "label_known_at": TIME}
    expected = {key: walked(versions, key, as_of) for key in KEYS}
    assert {row[0]: row[1:] for row in found.iter_rows()} == {key: told for key, told in expected.items() if told}
    assert found["_key"].n_unique() == found.height


@given(
    versions=VERSIONS,
    asked=st.lists(st.tuples(st.sampled_from([*KEYS, "unheard"]), st.integers(0, 20)), max_size=8),
    as_of=st.integers(0, 24),
    absent=st.sampled_from(["unlabelled", "negative"]),
)
@settings(deadline=None, max_examples=50)
def test_predictions_keep_their_order_and_meet_their_outcomes(versions, asked, as_of, absent):
    given_ = predictions(asked)
    found = outcomes(given_, history(versions), late(absent=absent), as_of=T0 + as_of * HOUR)
    assert found.select(given_.columns).equals(given_)
    for (key, hour), label, known_at in zip(asked, found["label"], found["label_known_at"], strict=True):
        told = walked(versions, key, as_of)
        if told:
            assert (label, known_at) == told
        else:
            assert label == (0.0 if absent == "negative" and hour + 6 <= as_of else None)
            assert known_at is None


def test_nothing_that_becomes_known_later_matters():
    versions = [("k0", 1, False, 3.0), ("k0", 5, False, 90.0), ("k0", 9, True, None)]
    told = {
        hours: outcomes(predictions([("k0", 0)]), history(versions), late(), as_of=T0 + hours * HOUR)["label"][0]
        for hours in (0, 1, 4, 5, 8, 9, 100)
    }
    assert told == {0: None, 1: 0.0, 4: 0.0, 5: 1.0, 8: 1.0, 9: None, 100: None}


def test_a_withdrawn_label_is_the_negative_where_absence_is():
    versions = [("k0", 1, False, 90.0), ("k0", 9, True, None)]
    asked, label = predictions([("k0", 0)]), late(absent="negative")
    labels = [outcomes(asked, history(versions), label, as_of=T0 + hours * HOUR)["label"][0] for hours in (8, 9)]
    assert labels == [1.0, 0.0]


@pytest.mark.parametrize(
    "expression",
    [
        pl.col("delay") > 15,
        (pl.col("delay") > 15).cast(pl.Int64),
        pl.when(pl.col("delay").is_not_null()).then((pl.col("delay") > 15).cast(pl.Float64)).otherwise(float("nan")),
    ],
)
def test_booleans_and_zeros_and_ones_are_labels_and_null_and_nan_are_none(expression):
    versions = [("k0", 1, False, 3.0), ("k1", 1, False, 16.0), ("k2", 1, False, None)]
    found = known_labels(history(versions), late(expression=expression), as_of=T0 + HOUR).sort("_key")
    assert dict(zip(found["_key"], found["label"], strict=True)) == {"k0": 0.0, "k1": 1.0}


@pytest.mark.parametrize("expression", [pl.col("delay"), pl.lit(2), -pl.col("delay").sign()])
def test_labels_that_are_neither_0_nor_1_are_refused(expression):
    with pytest.raises(InvalidInput) as caught:
        known_labels(history([("k7", 1, False, 15.0)]), late(expression=expression), as_of=T0 + HOUR)
    assert caught.value.code == "label.not_binary"
    assert "1 labels" in caught.value.message


def test_odd_labels_that_are_not_known_yet_or_corrected_do_not_stop_anyone():
    label = late(expression=pl.col("delay"))
    versions = [("k0", 1, False, 90.0), ("k0", 2, False, 1.0), ("k1", 9, False, 90.0)]
    assert known_labels(history(versions), label, as_of=T0 + 2 * HOUR)["label"].to_list() == [1.0]


def test_odd_labels_of_others_do_not_stop_those_that_are_asked_for():
    versions = [("k0", 1, False, 90.0), ("k1", 1, False, 1.0)]
    found = outcomes(predictions([("k1", 0)]), history(versions), late(expression=pl.col("delay")), as_of=T0 + HOUR)
    assert found["label"].to_list() == [1.0]


def test_no_history_and_no_predictions_are_fine():
    assert outcomes(predictions([("k0", 0)]), history([]), late(), as_of=T0)["label"].to_list() == [None]
    assert outcomes(predictions([]), history([("k0", 0, False, 1.0)]), late(), as_of=T0).height == 0


def test_one_key_predicted_twice_has_its_label_twice():
    found = outcomes(
        predictions([("k0", 1), ("k1", 2), ("k0", 3)]), history([("k0", 4, False, 90.0)]), late(), as_of=T0 + 4 * HOUR
    )
    assert found["label"].to_list() == [1.0, None, 1.0]


def test_a_label_says_when_it_is_due():
    label = late(matures="1d12h")
    assert label.maturity == timedelta(hours=36)
    assert label.mature_until(T0) == T0 - timedelta(hours=36)
    assert label.describe() | {"expression": ""} == {
        "table": "arrivals",
        "expression": "",
        "matures": "1d12h",
        "absent": "unlabelled",
    }
    assert late(expression=pl.col("delay") > 20).describe() != late().describe()


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"absent": "gone"}, "label.unknown_absence"), ({"matures": "2 days"}, "duration.unreadable")],
)
def test_labels_that_mean_nothing_are_refused(changes, code):
    with pytest.raises(InvalidInput) as caught:
        late(**changes)
    assert caught.value.code == code
