"""Will this flight arrive more than 15 minutes late? Asked just before scheduled departure, all through 2013."""

import polars as pl
from data import landings, observations, schedule
from sklearn.ensemble import HistGradientBoostingClassifier

import loopline as ll

loop = ll.Loop("flights")


def became_known(frame: pl.DataFrame, column: str, window: ll.Window) -> pl.DataFrame:
    return frame.filter(pl.col(column).is_between(window.start, window.end, closed="right"))


@loop.source(key="flight_id", event_time="scheduled_departure", known_at="published_at", known="assumed")
def departures(window: ll.Window) -> pl.DataFrame:
    return became_known(schedule(), "published_at", window)


@loop.source(key="flight_id", event_time="arrived_at", known_at="arrived_at")
def arrivals(window: ll.Window) -> pl.DataFrame:
    return became_known(landings(), "arrived_at", window)


@loop.source(key=("origin", "observed_at"), event_time="observed_at", known_at="observed_at", known="assumed")
def weather(window: ll.Window) -> pl.DataFrame:
    return became_known(observations(), "observed_at", window)


delays = [
    arrivals.features(by=by, delay=ll.mean("arr_delay", over=["3h", "24h", "7d"]))
    for by in ("carrier", "origin", "tailnum")
]
sky = weather.latest(
    "visib", "precip", "wind_speed", "wind_gust", "humid", "temp", "pressure", by="origin", max_age="3h"
)
known_ahead = [ll.category("carrier"), ll.category("route"), "hour", "weekday", "distance", "plane_age"]


@loop.model(
    on=departures,
    at="scheduled_departure",
    features=[*known_ahead, sky, *delays],
    label=ll.label(arrivals, pl.col("arr_delay") > 15, matures="2d", absent="unlabelled"),
    params={"learning_rate": 0.06, "max_iter": 150, "min_samples_leaf": 100, "l2_regularization": 5.0},
    fallback=0.25,
)
def late_arrival(train: ll.TrainingSet, params: dict) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(**params, random_state=train.seed).fit(train.X, train.y)


loop.operate(
    late_arrival,
    decide=ll.costs(false_positive=1, false_negative=4, abstain_at_most=0.05),
    promote=[ll.better("log_loss", confidence=0.8), ll.not_worse("log_loss", by="carrier")],
    watch=ll.Risk("log_loss", tolerance=0.01, block="1d", false_pages_per_year=1),
    respond=[
        ll.on(ll.harm & ll.previous_is_better, ll.roll_back),
        ll.on(ll.harm | ll.grown(1.35), ll.retrain(cooldown="7d", at_least_every="60d")),
    ],
    first_after="31d",
    compare={"train_once": [], "monthly": [ll.every("1mo", ll.retrain)]},
)
