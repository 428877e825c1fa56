"""A loop with a model of each further kind, on made-up rides: how long, by which reason late, and in which order to offer."""

from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
from lightgbm import LGBMRanker
from sklearn.ensemble import HistGradientBoostingClassifier
from xgboost import XGBRegressor

import loopline as ll

loop = ll.Loop("rides")

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS, SEARCHES, OFFERS = 40, 25, 4
REASONS = ("none", "rain", "traffic")


@cache
def everything() -> pl.DataFrame:
    rng = np.random.default_rng(3)
    count = DAYS * SEARCHES * OFFERS
    search = np.arange(count) // OFFERS
    at = [START + timedelta(days=1) * (number / SEARCHES) for number in search.tolist()]
    way, rain, taxis = rng.uniform(1, 20, count), rng.random(count), rng.integers(1, 4, count)
    minutes = 3 * way + 15 * rain + rng.normal(0, 2, count)
    reason = np.where(rain > 0.7, "rain", np.where(way + rng.normal(0, 2, count) > 14, "traffic", "none"))
    liked = np.clip(np.round(3 - way / 6 + rng.normal(0, 0.5, count)), 0, 3)
    return pl.DataFrame(
        {
            "ride": [f"r{number:05}" for number in range(count)],
            "search": [f"s{number:04}" for number in search],
            "asked_at": pl.Series(at, dtype=pl.Datetime("us", "UTC")),
            "way": way,
            "rain": rain,
            "taxis": taxis,
            "minutes": minutes,
            "reason": reason,
            "liked": liked,
        }
    ).with_columns(done_at=pl.col("asked_at") + pl.duration(hours=5))


def became_known(column: str, window: ll.Window) -> pl.DataFrame:
    return everything().filter(pl.col(column).is_between(window.start, window.end, closed="right"))


@loop.source(key="ride", event_time="asked_at", known_at="asked_at")
def rides(window: ll.Window) -> pl.DataFrame:
    return became_known("asked_at", window).select("ride", "search", "asked_at", "way", "rain", "taxis")


@loop.source(key="ride", event_time="done_at", known_at="done_at")
def outcomes(window: ll.Window) -> pl.DataFrame:
    return became_known("done_at", window).select("ride", "done_at", "minutes", "reason", "liked")


about = {"on": rides, "at": "asked_at", "features": ["way", "rain", "taxis"], "holdout": "6d"}


@loop.model(**about, kind="regression", label=ll.label(outcomes, pl.col("minutes"), matures="1d"), fallback=30)
def minutes(train: ll.TrainingSet, params: dict) -> XGBRegressor:
    return XGBRegressor(n_estimators=40, random_state=train.seed % 2**31).fit(train.X, train.y)


@loop.model(**about, kind="multiclass", label=ll.label(outcomes, pl.col("reason"), matures="1d", classes=REASONS))
def reason(train: ll.TrainingSet, params: dict) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_iter=25, random_state=train.seed).fit(train.X, train.y)


@loop.model(**about, kind="ranking", group="search", label=ll.label(outcomes, pl.col("liked"), matures="1d"))
def offers(train: ll.TrainingSet, params: dict) -> LGBMRanker:
    made = LGBMRanker(n_estimators=30, verbose=-1, random_state=train.seed % 2**31)
    return made.fit(train.X, train.y, group=train.group_sizes)


def watched(loss: str, tolerance: float) -> dict:
    return {
        "promote": [ll.better(loss), ll.not_worse(loss, by="taxis")],
        "watch": ll.Risk(loss, tolerance=tolerance, block="1d", false_pages_per_year=1, min_rows=20),
        "respond": [ll.on(ll.harm, ll.retrain(cooldown="3d"))],
        "first_after": "14d",
    }


loop.operate(minutes, decide=ll.amount_costs(under=3, over=1), **watched("squared_error", 5))
loop.operate(reason, decide=ll.choice_costs({("rain", "none"): 5}), **watched("log_loss", 0.05))
loop.operate(offers, **watched("ndcg_loss", 0.02))
