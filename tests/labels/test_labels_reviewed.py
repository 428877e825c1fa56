"""Labels of reviewers beside those that were told: which holds, what it weighs, and where they carry nothing."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from loopline.errors import InvalidInput
from loopline.labels.censoring import weighed
from loopline.labels.label import Label
from loopline.labels.outcomes import outcomes
from loopline.labels.review.reviewed import Reviewed, carrying
from loopline.tables.schema import UTC_TIME

AT = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LABEL = Label("told", pl.col("bad"), "1d")


def predictions(keys: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"_key": keys, "_event_time": pl.Series([AT] * len(keys), dtype=UTC_TIME)})


def told(labels: dict[str, bool]) -> pl.DataFrame:
    times = pl.Series([AT + 3 * DAY] * len(labels), dtype=UTC_TIME)
    keys = pl.Series(list(labels), dtype=pl.String)
    values = pl.Series(list(labels.values()), dtype=pl.Boolean)
    rows = {"_key": keys, "bad": values, "_event_time": times, "_known_at": times}
    return pl.DataFrame(rows).with_columns(_tombstone=pl.lit(value=False))


def said(labels: dict[str, tuple[float, float]], *, sampled: bool = True, most: float = 100.0) -> Reviewed:
    frame = pl.DataFrame(
        {
            "_key": list(labels),
            "_known_at": pl.Series([AT + DAY] * len(labels), dtype=UTC_TIME),
            "label": [label for label, _ in labels.values()],
            "propensity": [propensity for _, propensity in labels.values()],
        },
        schema={"_key": pl.String, "_known_at": UTC_TIME, "label": pl.Float64, "propensity": pl.Float64},
    )
    return Reviewed(frame, sampled, most)


def joined(reviewed: Reviewed, labels: dict[str, bool], label: Label = LABEL) -> pl.DataFrame:
    found = outcomes(predictions(["a", "b", "c", "d"]), told(labels), label, as_of=AT + 9 * DAY, reviewed=reviewed)
    return weighed(found, label, reviewed)


def test_a_label_that_was_told_goes_before_a_reviewers_also_where_it_came_earlier_or_later():
    found = joined(said({"a": (0.0, 1.0), "b": (1.0, 0.25)}), {"a": True, "c": False})
    assert found["label"].to_list() == [1.0, 1.0, 0.0, None]
    assert found["weight"].to_list() == [1.0, 4.0, 1.0, 0.0]
    assert found["review_propensity"].to_list() == [None, 0.25, None, None]
    assert found["label_known_at"].to_list() == [AT + 3 * DAY, AT + DAY, AT + 3 * DAY, None]


def test_a_reviewers_label_goes_before_what_absence_means_and_then_all_weigh_alike():
    label = Label("told", pl.col("bad"), "1d", "negative")
    found = joined(said({"b": (1.0, 0.25)}), {"a": True}, label)
    assert found["label"].to_list() == [1.0, 1.0, 0.0, 0.0]
    assert found["weight"].to_list() == [1.0, 1.0, 1.0, 1.0]


def test_without_reviews_nothing_changes():
    plain = outcomes(predictions(["a", "b"]), told({"a": True}), LABEL, as_of=AT + 9 * DAY)
    empty = outcomes(predictions(["a", "b"]), told({"a": True}), LABEL, as_of=AT + 9 * DAY, reviewed=said({}))
    assert empty.drop("review_propensity").equals(plain)


def test_how_far_labels_carry_is_told():
    few = {f"r{number}": (1.0, 0.01 if number == 0 else 1.0) for number in range(40)}
    reviewed = said(few, most=50.0)
    found = outcomes(predictions(list(few)), told({}), LABEL, as_of=AT + 9 * DAY, reviewed=reviewed)
    carries = carrying(weighed(found, LABEL, reviewed), LABEL, reviewed)
    assert (carries.rows, carries.reviewed, carries.clipped, carries.largest_weight) == (40, 40, 1, 100.0)
    assert carries.effective_rows == pytest.approx((39 + 50) ** 2 / (39 + 2500))  # Kish, by hand
    assert "as much as 3" in carries.warning


def test_labels_of_abstentions_alone_are_refused_and_beside_others_warned_of():
    alone = said({"a": (1.0, 1.0)}, sampled=False)
    with pytest.raises(InvalidInput) as caught:
        carrying(joined(alone, {}), LABEL, alone)
    assert caught.value.code == "review.no_overlap"
    assert "abstained" in carrying(joined(alone, {"b": True}), LABEL, alone).warning


def test_weights_undo_that_costly_rows_were_likelier_to_be_reviewed():
    """The mean label by weights is that of all rows, although reviewers saw mostly those that are positive."""
    rng = np.random.default_rng(5)
    n = 40_000
    truth = (rng.uniform(size=n) < 0.2).astype(np.float64)
    propensity = np.where(truth == 1, 0.3, 0.03)
    seen = rng.uniform(size=n) < propensity
    keys = [f"k{number}" for number in range(n)]
    frame = pl.DataFrame({"_key": keys, "label": truth, "propensity": propensity}).filter(pl.Series(seen))
    frame = frame.with_columns(_known_at=pl.lit(AT + DAY, UTC_TIME))
    reviewed = Reviewed(frame.select("_key", "_known_at", "label", "propensity"), True, 100.0)  # noqa: FBT003 - sampled
    found = outcomes(predictions(keys), told({}), LABEL, as_of=AT + 9 * DAY, reviewed=reviewed)
    known = weighed(found, LABEL, reviewed).filter(pl.col("label").is_not_null())
    assert known["label"].mean() > 0.6
    assert np.average(known["label"], weights=known["weight"]) == pytest.approx(0.2, abs=0.02)
