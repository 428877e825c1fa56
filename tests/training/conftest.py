"""A small world of departures, arrivals and weather with late, corrected and deleted rows, and what to train on it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from loopline.features.definitions import Aggregate, LatestView, WindowView
from loopline.labels.label import Label
from loopline.training.training_set import Recipe

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TIME = pl.Datetime("us", "UTC")
SYSTEM = {"_key": pl.String, "_event_time": TIME, "_known_at": TIME, "_tombstone": pl.Boolean}


def table(rows: list[tuple], **payload) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={**SYSTEM, **payload}, orient="row")


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    delays = WindowView(
        table="arrivals",
        by="carrier",
        features={"delay_6h": Aggregate("mean", "delay", "6h"), "n_1d": Aggregate("count", "delay", "1d")},
    )
    sky = LatestView(table="weather", by="origin", features={"wind": "wind"}, max_age="3h")
    label = Label("arrivals", pl.col("delay") > 15, "12h")
    return Recipe("departures", "departs", ("carrier", "distance"), ("carrier",), (delays, sky), label)


@pytest.fixture(scope="session")
def world() -> dict[str, pl.DataFrame]:
    """Some 300 flights in ten days; a tenth of the arrivals is corrected, some rows are deleted, some come late."""
    rng = np.random.default_rng(11)
    departures, arrivals, weather = [], [], []
    for number in range(300):
        key, carrier, origin = f"f{number:03}", str(rng.choice(["AA", "B6"])), str(rng.choice(["EWR", "JFK"]))
        departs = T0 + float(rng.uniform(12, 240)) * HOUR
        published = departs - 24 * HOUR
        distance = float(rng.uniform(100, 2000))
        departures.append((key, departs, published, False, carrier, origin, distance, departs))
        if rng.random() < 0.15:  # moved or taken back, before or after it was due
            known, moved = departs + float(rng.uniform(-6, 3)) * HOUR, departs + float(rng.uniform(-2, 6)) * HOUR
            departures.append((key, moved, known, bool(rng.random() < 0.3), carrier, origin, distance + 1, moved))
        delay = float(rng.normal(10 if carrier == "B6" else 2, 20))
        arrived = departs + (3 + abs(delay) / 60) * HOUR
        known = arrived + float(rng.exponential(1)) * HOUR
        arrivals.append((key, arrived, known, False, carrier, delay))
        if rng.random() < 0.1:
            again = known + float(rng.exponential(12)) * HOUR
            arrivals.append((key, arrived, again, bool(rng.random() < 0.2), carrier, delay + float(rng.normal(0, 30))))
    for origin in ("EWR", "JFK"):
        for hour in range(0, 260, 2):
            seen = T0 + hour * HOUR
            weather.append(
                (
                    f"{origin}|{hour}",
                    seen,
                    seen + float(rng.exponential(0.5)) * HOUR,
                    False,
                    origin,
                    float(rng.gamma(2, 5)),
                )
            )
    return {
        "departures": table(departures, carrier=pl.String, origin=pl.String, distance=pl.Float64, departs=TIME),
        "arrivals": table(sorted(arrivals, key=lambda row: row[2]), carrier=pl.String, delay=pl.Float64),
        "weather": table(weather, origin=pl.String, wind=pl.Float64),
    }
