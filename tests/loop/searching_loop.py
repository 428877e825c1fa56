"""Small orders that may be returned, with a search: some parameters are better than those declared, some are refused."""

import os
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

import loopline as ll

loop = ll.Loop("shop", turn="1d")

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS, EACH = 24, 60


@cache
def made() -> pl.DataFrame:
    rng = np.random.default_rng(4)
    count = DAYS * EACH
    price, size = rng.normal(size=count), rng.normal(size=count)
    returned = rng.random(count) < 1 / (1 + np.exp(-2 * np.sin(2 * price) - size))
    at = [START + number * timedelta(days=1) / EACH for number in range(count)]
    return pl.DataFrame(
        {
            "order": [f"o{number}" for number in range(count)],
            "at": pl.Series(at, dtype=pl.Datetime("us", "UTC")),
            "price": price,
            "size": size,
            "returned": returned.astype(float),
        }
    ).with_columns(told=pl.col("at") + pl.duration(hours=20))


def known(column: str, window: ll.Window) -> pl.DataFrame:
    return made().filter(pl.col(column).is_between(window.start, window.end, closed="right"))


@loop.source(key="order", event_time="at", known_at="at")
def orders(window: ll.Window) -> pl.DataFrame:
    return known("at", window).select("order", "at", "price", "size")


@loop.source(key="order", event_time="told", known_at="told")
def outcomes(window: ll.Window) -> pl.DataFrame:
    return known("told", window).select("order", "told", "returned")


@loop.model(
    on=orders,
    at="at",
    features=["price", "size"],
    label=ll.label(outcomes, pl.col("returned") == 1, matures="1d"),
    params={"learning_rate": 0.001, "max_iter": 10},
    holdout="6d",
    search={
        "learning_rate": ll.loguniform(0.001, 0.5),
        "max_leaf_nodes": ll.integer(2, 15),
        "loss": ll.choice("log_loss", "exponential"),
    },
    trials=int(os.environ.get("TRIALS", "12")),
    folds=3,
)
def returns(train: ll.TrainingSet, params: dict) -> HistGradientBoostingClassifier:
    if told := os.environ.get("COUNT_FITS"):
        with Path(told).open("a") as file:
            file.write(f"{params}\n")
    return HistGradientBoostingClassifier(**params, random_state=train.seed).fit(train.X, train.y)


loop.operate(
    returns,
    decide=ll.costs(false_positive=1, false_negative=3),
    promote=[],
    watch=ll.Risk("log_loss", tolerance=0.1, block="1d", false_pages_per_year=20, min_rows=10),
    respond=[ll.every("3d", ll.retrain), ll.every("8d", ll.retrain(search=True))],
    first_after="12d",
)
