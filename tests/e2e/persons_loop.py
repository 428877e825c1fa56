"""A loop about persons: orders of customers that may be returned. One of them is planted, to be looked for everywhere."""

from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

import loopline as ll

loop = ll.Loop("shop")

START = datetime(2024, 1, 1, tzinfo=UTC)
A_DAY, DAYS = 52, 26
WHO, EMAIL, CITY, ODD_CITY = "cust-004711", "zoë.planted@example.org", "Plantedville", "Plantedburg"


@cache
def everything() -> pl.DataFrame:
    rng = np.random.default_rng(7)
    day = np.repeat(np.arange(DAYS), A_DAY)
    count = len(day)
    minute = rng.integers(0, 1440, count)
    who = [f"cust-{number:06}" for number in rng.integers(0, 60, count)]
    mine = np.arange(count) % 37 == 5
    price = np.where(np.arange(count) == 79, 3.0, rng.normal(size=count))  # one of hers is too dear to be true
    returned = rng.random(count) < 1 / (1 + np.exp(-np.where(day < 14, 1.5, -1.5) * price))
    at = [START + timedelta(days=int(d), minutes=int(m)) for d, m in zip(day, minute, strict=True)]
    late = [ODD_CITY if moment > START + timedelta(days=16) else CITY for moment in at]
    frame = pl.DataFrame(
        {
            "order": [f"order-{'planted-' if hers else ''}{i:05}" for i, hers in enumerate(mine)],
            "customer": [WHO if hers else one for one, hers in zip(who, mine, strict=True)],
            "email": [EMAIL if hers else f"{one}@example.org" for one, hers in zip(who, mine, strict=True)],
            "city": [odd if hers else f"city{i % 3}" for i, (odd, hers) in enumerate(zip(late, mine, strict=True))],
            "note": [f"ask {WHO} too" if i % 100 == 3 else "" for i in range(count)],
            "ordered_at": pl.Series(at, dtype=pl.Datetime("us", "UTC")),
            "price": price,
            "returned": returned,
        }
    )
    told = pl.col("ordered_at") + pl.duration(hours=20)
    return frame.with_columns(announced_at=pl.col("ordered_at") - pl.duration(hours=1), told_at=told)


def became_known(column: str, window: ll.Window) -> pl.DataFrame:
    return everything().filter(pl.col(column).is_between(window.start, window.end, closed="right"))


@loop.source(
    key="order",
    event_time="ordered_at",
    known_at="announced_at",
    personal=["email", "city"],
    subject="customer",
    expect={"not_too_dear": pl.col("price") < 2.2},
)
def orders(window: ll.Window) -> pl.DataFrame:
    return became_known("announced_at", window).drop("returned", "told_at")


@loop.source(key="order", event_time="told_at", known_at="told_at")
def outcomes(window: ll.Window) -> pl.DataFrame:
    told = became_known("told_at", window)
    return told.select("order", "told_at", returned=pl.col("returned").cast(pl.Float64))


@loop.model(
    on=orders,
    at="ordered_at",
    features=[
        "price",
        ll.category("city"),
        orders.features(by="customer", spent=ll.mean("price", over="9d")),
        orders.latest("email", by="city", max_age="9d"),
    ],
    label=ll.label(outcomes, pl.col("returned") == 1, matures="1d"),
    params={"C": 1.0},
    fallback=0.4,
    holdout="5d",
)
def returns(train: ll.TrainingSet, params: dict) -> Pipeline:
    return make_pipeline(SimpleImputer(), LogisticRegression(**params)).fit(train.X, train.y)


loop.operate(
    returns,
    decide=ll.costs(false_positive=1, false_negative=3, abstain_at_most=0.1),
    promote=[],
    watch=ll.Risk("log_loss", tolerance=0.02, block="1d", false_pages_per_year=1, min_rows=10),
    respond=[ll.on(ll.harm, ll.retrain(cooldown="3d"))],
    first_after="10d",
)
