"""Outcomes known in part: which are known all the same, what the known ones weigh, which actions were logged."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.labels.action_log import ActionLog, known_actions
from loopline.labels.censoring import weighed
from loopline.labels.label import Label
from loopline.labels.outcomes import known_labels, outcomes

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TIME = pl.Datetime("us", "UTC")
SCHEMA = {
    "_key": pl.String,
    "_event_time": TIME,
    "_known_at": TIME,
    "_tombstone": pl.Boolean,
    "churned": pl.Boolean,
    "left": pl.Boolean,
}


def churn(**changes) -> Label:
    said = {"table": "ends", "expression": pl.col("churned"), "matures": "30d", "absent": "negative"}
    return Label(**said | {"censored": pl.col("left")} | changes)


def ends(rows) -> pl.DataFrame:
    """Rows (key, day it happened, churned, left), known on the day."""
    return pl.DataFrame(
        [(key, T0 + day * DAY, T0 + day * DAY, False, churned, left) for key, day, churned, left in rows],
        schema=SCHEMA,
        orient="row",
    )


def asked(*keys) -> pl.DataFrame:
    return pl.DataFrame(
        {"_key": keys, "_event_time": [T0] * len(keys)}, schema={"_key": pl.String, "_event_time": TIME}
    )


def told(rows, *keys, day=60, **changes) -> dict:
    found = outcomes(asked(*keys), ends(rows), churn(**changes), as_of=T0 + day * DAY)
    return {row["_key"]: (row["label"], row["censored"], row["followed"]) for row in found.iter_rows(named=True)}


def test_what_ended_too_early_is_censored_and_the_rest_is_known():
    rows = [("a", 3, True, False), ("b", 10, False, True), ("c", 40, False, True), ("d", 5, None, True)]
    day = 86400.0
    assert told(rows, "a", "b", "c", "d", "silent") == {
        "a": (1.0, False, 3 * day),
        "b": (None, True, 10 * day),
        "c": (0.0, False, 30 * day),  # followed past the thirty days: nothing had happened
        "d": (None, True, 5 * day),
        "silent": (0.0, False, 30 * day),
    }


def test_a_bound_of_one_is_a_one():
    """More than a hundred were sold before it sold out: more than a hundred were wanted."""
    assert told([("a", 1, True, True)], "a")["a"][:2] == (1.0, False)


def test_silence_is_what_the_label_says_it_is():
    assert told([], "a", absent="censored")["a"] == (None, True, 0.0)
    assert told([], "a", absent="unlabelled")["a"] == (None, False, None)
    assert told([], "a", absent="censored", day=29)["a"] == (None, False, None)
    assert told([], "a", absent="negative", day=29)["a"] == (None, False, None)


def test_a_correction_ends_a_censoring_and_the_other_way_round():
    rows = [("a", 3, False, True), ("a", 5, True, False), ("b", 3, True, False), ("b", 5, None, True)]
    assert told(rows, "a", "b", day=4) == {"a": (None, True, 3 * 86400.0), "b": (1.0, False, 3 * 86400.0)}
    assert told(rows, "a", "b", day=6) == {"a": (1.0, False, 5 * 86400.0), "b": (None, True, 5 * 86400.0)}


def test_a_bound_is_no_label():
    known = known_labels(ends([("a", 3, True, False), ("b", 3, False, True)]), churn(), as_of=T0 + DAY * 9)
    assert known["_key"].to_list() == ["a"]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 45), st.sampled_from(["churned", "left", "silent", "unknown"])), max_size=25))
def test_labelled_censored_and_unlabelled_are_all_there_is_and_weights_stand_for_those_followed(kinds):
    rows = [
        (f"k{i}", day, kind == "churned", kind == "left") for i, (day, kind) in enumerate(kinds) if kind != "silent"
    ]
    rows = [row if kinds[int(row[0][1:])][1] != "unknown" else (*row[:2], None, False) for row in rows]
    keys = [f"k{i}" for i in range(len(kinds))]
    found = weighed(outcomes(asked(*keys), ends(rows), churn(), as_of=T0 + 60 * DAY), churn())
    known = found["label"].is_not_null()
    assert not (known & found["censored"]).any()
    assert (found.filter(known)["weight"] >= 1).all()
    assert (found.filter(~known)["weight"] == 0).all()
    reaches_the_end = (found["followed"] == 30 * 86400.0).any()
    if reaches_the_end:
        assert found["weight"].sum() == pytest.approx(int((known | found["censored"]).sum()))


def test_the_churn_of_those_who_stayed_observed_is_that_of_all():
    """Half of the customers leave our sight at random times: among the rest churn looks rarer or commoner than it is."""
    rng = np.random.default_rng(2)
    happens, leaves = rng.exponential(60, 6000), rng.exponential(40, 6000)
    rows = []
    for number, (event, gone) in enumerate(zip(happens, leaves, strict=True)):
        if event < gone and event < 30:
            rows.append((f"k{number}", event, True, False))
        elif gone < 30:
            rows.append((f"k{number}", gone, False, True))
    found = weighed(outcomes(asked(*[f"k{i}" for i in range(6000)]), ends(rows), churn(), as_of=T0 + 60 * DAY), churn())
    known = found.filter(pl.col("label").is_not_null())
    truth = float((happens <= 30).mean())
    assert abs(known["label"].mean() - truth) > 0.04
    assert float((known["label"] * known["weight"]).sum() / known["weight"].sum()) == pytest.approx(truth, abs=0.02)


def test_without_a_censored_row_every_known_row_weighs_one():
    found = weighed(outcomes(asked("a", "b"), ends([("a", 3, True, False)]), churn(), as_of=T0 + DAY * 9), churn())
    assert found["weight"].to_list() == [1.0, 0.0]


LOG = ActionLog(pl.col("did"), pl.col("p"))


def logged(rows) -> pl.DataFrame:
    return pl.DataFrame(
        [(key, T0, T0 + day * DAY, gone, did, p) for key, day, gone, did, p in rows],
        schema={**dict(list(SCHEMA.items())[:4]), "did": pl.String, "p": pl.Float64},
        orient="row",
    )


def test_the_last_told_action_counts_and_a_row_without_one_does_not():
    rows = [("a", 1, False, "positive", 0.5), ("a", 2, False, "negative", 0.9), ("b", 1, False, None, 0.5)]
    rows += [("c", 1, False, "positive", None), ("d", 1, False, "positive", 0.1), ("d", 2, True, None, None)]
    assert known_actions(logged(rows), LOG).rows() == [("a", "negative", 0.9)]
    assert known_actions(logged([]), LOG).is_empty()


@pytest.mark.parametrize("odd", [0.0, 1.5, -1.0])
def test_a_propensity_that_is_none_is_refused(odd):
    with pytest.raises(InvalidInput, match="propensity"):
        known_actions(logged([("a", 1, False, "positive", odd)]), LOG)


def test_a_log_needs_a_label_that_depends_on_actions():
    with pytest.raises(InvalidInput, match="depend"):
        churn(logged=LOG)
    assert churn(observed_after="negative", logged=LOG).describe()["logged"]["weigh_training"] is False


def test_what_is_not_used_is_not_told():
    plain = Label("ends", pl.col("churned"), "30d")
    assert set(plain.describe()) == {"table", "expression", "matures", "absent"}
    assert set(churn().describe()) == {"table", "expression", "matures", "absent", "censored"}
