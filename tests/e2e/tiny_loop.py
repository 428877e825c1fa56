"""A loop small enough to be replayed many times: orders that may be returned, with a drift on the thirtieth day."""

import os
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

import loopline as ll

loop = ll.Loop("tiny")

START = datetime(2024, 1, 1, tzinfo=UTC)
A_DAY, DAYS = 80, 70
DRIFT_DAY = int(os.environ.get("TINY_DRIFT_DAY", "30"))


@cache
def everything() -> pl.DataFrame:
    rng = np.random.default_rng(7)
    day = np.repeat(np.arange(DAYS), A_DAY)
    minute = rng.integers(0, 1440, len(day))
    price, shop = rng.normal(size=len(day)), rng.choice(["a", "b", "c"], len(day))
    logit = np.where(day < DRIFT_DAY, 1.5, -1.5) * price + (shop == "c") - 0.5
    returned = rng.random(len(day)) < 1 / (1 + np.exp(-logit))
    kept = rng.random(len(day)) > 0.03
    at = [START + timedelta(days=int(d), minutes=int(m)) for d, m in zip(day, minute, strict=True)]
    frame = pl.DataFrame(
        {
            "order": [f"o{i:05}" for i in range(len(day))],
            "ordered_at": pl.Series(at, dtype=pl.Datetime("us", "UTC")),
            "price": price,
            "shop": shop,
            "returned": returned,
            "kept": kept,
        }
    )
    told = pl.col("ordered_at") + pl.duration(hours=20)
    return frame.with_columns(announced_at=pl.col("ordered_at") - pl.duration(hours=1), told_at=told)


def became_known(column: str, window: ll.Window) -> pl.DataFrame:
    return everything().filter(pl.col(column).is_between(window.start, window.end, closed="right"))


@loop.source(key="order", event_time="ordered_at", known_at="announced_at")
def orders(window: ll.Window) -> pl.DataFrame:
    return became_known("announced_at", window).select("order", "ordered_at", "announced_at", "price", "shop")


@loop.source(key="order", event_time="told_at", known_at="told_at")
def outcomes(window: ll.Window) -> pl.DataFrame:
    told = became_known("told_at", window).filter(pl.col("kept"))
    return told.select("order", "told_at", "shop", returned=pl.col("returned").cast(pl.Float64))


@loop.model(
    on=orders,
    at="ordered_at",
    features=["price", ll.category("shop"), outcomes.features(by="shop", rate=ll.mean("returned", over="5d"))],
    label=ll.label(outcomes, pl.col("returned") == 1, matures="1d"),
    params={"C": 1.0},
    fallback=0.4,
    holdout="6d",
)
def returns(train: ll.TrainingSet, params: dict) -> Pipeline:
    return make_pipeline(SimpleImputer(), LogisticRegression(**params)).fit(train.X, train.y)


loop.operate(
    returns,
    decide=ll.costs(false_positive=1, false_negative=3, abstain_at_most=0.1),
    promote=[ll.better("log_loss"), ll.not_worse("log_loss", by="shop")],
    watch=ll.Risk("log_loss", tolerance=0.02, block="1d", false_pages_per_year=1, min_rows=20),
    respond=[ll.on(ll.harm, ll.retrain(cooldown="3d"))],
    compare={
        "train_once": [],
        "pays": [
            ll.on(
                ll.harm | ll.retraining_pays("20d"), ll.retrain(cooldown="2d", at_most_a_month=4, unless=ll.broken_data)
            )
        ],
    },
    prices=ll.prices(loss=1.0, retrain=5.0, page=20.0),
    first_after="14d",
)
