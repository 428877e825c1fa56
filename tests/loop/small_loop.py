"""A loop of a few hundred made-up rows: will this parcel arrive late? Slow carriers and long ways are."""

from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

import loopline as ll

loop = ll.Loop("parcels", turn="1d")

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS, EACH = 34, 40
BROKEN_FROM = 320  # rows; the first training has fewer
HOUR = timedelta(hours=1)


@cache
def made() -> tuple[pl.DataFrame, pl.DataFrame]:
    """All sendings and all deliveries, with corrections, deletions and late rows among them."""
    rng = np.random.default_rng(4)
    sent, arrived = [], []
    for number in range(DAYS * EACH):
        sends = START + number * timedelta(days=1) / EACH + HOUR
        carrier, way = str(rng.choice(["fast", "slow"])), float(rng.uniform(0, 4))
        row = {"parcel": f"p{number:04}", "carrier": carrier, "way": way, "sends": sends, "gone": False}
        sent.append(row | {"told": sends - 6 * HOUR})
        if rng.random() < 0.1:
            told = sends + float(rng.uniform(-5, 5)) * HOUR
            sent.append(row | {"told": told, "way": way + 1, "gone": bool(rng.random() < 0.3)})
        hours = way * 4 + 8 * (carrier == "slow") + float(rng.normal(0, 3))
        seen = sends + timedelta(hours=min(max(hours, 1), 20))
        if rng.random() < 0.95:
            arrived.append({"parcel": row["parcel"], "carrier": carrier, "hours": hours, "seen": seen})
    return pl.DataFrame(sent), pl.DataFrame(arrived)


def told_in(frame: pl.DataFrame, column: str, window: ll.Window) -> pl.DataFrame:
    return frame.filter(pl.col(column).is_between(window.start, window.end, closed="right"))


@loop.source(key="parcel", event_time="sends", known_at="told", known="assumed", tombstone="gone")
def sendings(window: ll.Window) -> pl.DataFrame:
    return told_in(made()[0], "told", window)


@loop.source(key="parcel", event_time="seen", known_at="seen")
def deliveries(window: ll.Window) -> pl.DataFrame:
    return told_in(made()[1], "seen", window)


lately = deliveries.features(by="carrier", took=ll.mean("hours", over=["12h", "3d"]), n=ll.count("hours", over="1d"))
last = deliveries.latest("hours", by="carrier", max_age="2d")


@loop.model(
    on=sendings,
    at="sends",
    features=[ll.category("carrier"), "way", lately, last],
    label=ll.label(deliveries, pl.col("hours") > 12, matures="1d"),
    params={"max_iter": 20, "min_samples_leaf": 10},
    fallback=0.4,
    holdout="6d",
)
def late(train: ll.TrainingSet, params: dict) -> HistGradientBoostingClassifier:
    """From the second training on its code is broken: it learns the opposite."""
    y = 1 - train.y if len(train) > BROKEN_FROM else train.y
    return HistGradientBoostingClassifier(**params, random_state=train.seed).fit(train.X, y)


loop.operate(
    late,
    decide=ll.costs(false_positive=1, false_negative=3, abstain_at_most=0.05),
    promote=[],  # no gate stands in its way
    watch=ll.Risk("log_loss", tolerance=0.1, block="1d", false_pages_per_year=10, min_rows=10),
    respond=[
        ll.on(ll.harm & ll.previous_is_better, ll.roll_back),
        ll.on(ll.harm | ll.grown(1.6), ll.retrain(cooldown="3d")),
    ],
    first_after="14d",
    compare={"weekly": [ll.every("7d", ll.retrain)]},
)
