"""The flights of 2013 out of New York: a model of the first months, served from May on."""

import sys
from pathlib import Path

import polars as pl

from watching.streams import Stream, train

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "flights"))

_LEARNT_UNTIL = pl.datetime(2013, 5, 1, time_zone="UTC")
WEATHER = ("temp", "humid", "wind_speed", "visib", "pressure")
_FEATURES = (
    "carrier",
    "origin",
    "hour",
    "weekday",
    "distance",
    "plane_age",
    *WEATHER,
    "carrier_delay",
    "origin_delay",
)
_DELAYS = {"carrier": "24h", "origin": "6h"}


def flights_stream() -> Stream:
    """About 220,000 flights with their weather and the recent delays of their carrier and origin."""
    rows = _rows()
    model = train(rows.filter(pl.col("at") < _LEARNT_UNTIL), _FEATURES)
    served = rows.filter(pl.col("at") >= _LEARNT_UNTIL)
    numbers = ("distance", "temp", "wind_speed", "carrier_delay", "origin_delay")
    return Stream("flights", served, _FEATURES, numbers, "carrier", WEATHER, "origin", model)


def _rows() -> pl.DataFrame:
    from data import flights, landings, observations, schedule  # noqa: PLC0415 - the example's own module

    known = flights().select("flight_id", "arr_delay")
    rows = schedule().join(known, on="flight_id").filter(pl.col("arr_delay").is_not_null())
    rows = rows.sort("scheduled_departure", "flight_id").with_columns(asked=pl.col("published_at"))
    weather = observations().select("origin", "observed_at", *WEATHER).sort("observed_at")
    rows = rows.join_asof(
        weather,
        left_on="scheduled_departure",
        right_on="observed_at",
        by="origin",
        tolerance="3h",
        strategy="backward",
        check_sortedness=False,
    )
    for by, over in _DELAYS.items():
        recent = (
            landings()
            .sort("arrived_at")
            .rolling("arrived_at", period=over, group_by=by)
            .agg(pl.col("arr_delay").mean().alias(f"{by}_delay"))
            .sort("arrived_at")
        )
        rows = rows.join_asof(
            recent, left_on="scheduled_departure", right_on="arrived_at", by=by, tolerance="2d", check_sortedness=False
        )
        rows = rows.drop("arrived_at", strict=False)
    return rows.select(
        "flight_id",
        *_FEATURES,
        at="scheduled_departure",
        label=(pl.col("arr_delay") > 15).cast(pl.Float64),
    )
