"""The flights example's data: the times it makes of the published figures are possible ones, and nothing is lost."""

import importlib.util
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "flights"
FLIGHTS, ARRIVALS, CANCELLED, WITHOUT_LABEL = 336_776, 327_346, 8_255, 9_430


@pytest.fixture(scope="module")
def data():
    """The example's data module."""
    spec = importlib.util.spec_from_file_location("flights_data", FOLDER / "data.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def published(data) -> pl.DataFrame:
    """The package's own file, read anew."""
    with zipfile.ZipFile(data.folder() / "flights.csv.zip") as archive:
        content = archive.read(archive.namelist()[0])
    return pl.read_csv(content, null_values="NA", infer_schema_length=None)


@pytest.fixture(scope="module")
def flights(data) -> pl.DataFrame:
    return data.flights()


def test_every_published_flight_is_there_once(flights, published):
    assert flights.height == published.height == FLIGHTS
    assert flights["flight_id"].n_unique() == FLIGHTS
    assert flights["flight_id"].null_count() == flights["scheduled_departure"].null_count() == 0
    for column in ("arr_delay", "dep_delay", "air_time", "distance"):
        assert flights[column].sum() == published[column].sum()
        assert flights[column].null_count() == published[column].null_count()


def test_the_counts_that_the_example_speaks_of(data, flights, published):
    assert data.landings().height == published["arr_delay"].drop_nulls().len() == ARRIVALS
    assert flights.height - data.landings().height == WITHOUT_LABEL
    assert flights["departed_at"].null_count() == published["dep_time"].null_count() == CANCELLED
    assert data.schedule().height == FLIGHTS
    assert data.landings()["arrived_at"].null_count() == 0


def test_no_flight_lands_before_it_has_flown(data, flights):
    landed = flights.filter(pl.col("arr_delay").is_not_null())
    taxied = landed["arrived_at"] - landed["departed_at"] - landed.select(pl.duration(minutes="air_time")).to_series()
    # A plane cannot be known to have landed before departure plus its time in the air.
    assert taxied.null_count() == 0
    assert taxied.min() > timedelta()
    assert taxied.max() < timedelta(hours=6), "also across the change to summer time"
    assert data.landings()["arrived_at"].is_sorted()


def test_departures_are_new_yorks_wall_clock(flights, published):
    zone = ZoneInfo("America/New_York")
    by_id = {row["flight_id"]: row for row in flights.sample(300, seed=1).iter_rows(named=True)}
    wanted = published.with_columns(
        pl.format(
            "{}T{}-{}{}-{}-{}",
            pl.date("year", "month", "day").dt.strftime("%Y%m%d"),
            pl.col("sched_dep_time").cast(pl.String).str.zfill(4),
            "carrier", "flight", "origin", "dest",
        ).alias("flight_id")
    )  # fmt: skip
    found = wanted.filter(pl.col("flight_id").is_in(list(by_id)))
    assert found.height == 300
    for row in found.iter_rows(named=True):
        hour, minute = divmod(row["sched_dep_time"], 100)
        local = datetime(row["year"], row["month"], row["day"], hour, minute, tzinfo=zone)
        assert by_id[row["flight_id"]]["scheduled_departure"] == local.astimezone(UTC)
        assert by_id[row["flight_id"]]["weekday"] == local.isoweekday()


def test_arrivals_read_in_the_destinations_zone_agree_with_the_delays(flights, published):
    """The scheduled arrival, its wall clock in the destination's zone, plus the delay is when it landed."""
    honolulu = flights.filter((pl.col("dest") == "HNL") & pl.col("arr_delay").is_not_null())
    scheduled = honolulu["arrived_at"] - honolulu.select(pl.duration(minutes="arr_delay")).to_series()
    wall = scheduled.dt.convert_time_zone("Pacific/Honolulu")
    ours = (wall.dt.hour().cast(pl.Int64) * 100 + wall.dt.minute().cast(pl.Int64)).sort()
    theirs = published.filter((pl.col("dest") == "HNL") & pl.col("arr_delay").is_not_null())["sched_arr_time"].sort()
    assert ours.to_list() == theirs.to_list()


def test_the_schedule_and_the_weather_are_known_before_they_are_used(data):
    schedule = data.schedule()
    assert (schedule["scheduled_departure"] - schedule["published_at"]).unique().to_list() == [timedelta(hours=3)]
    assert not {"arr_delay", "dep_delay", "arrived_at", "departed_at", "air_time"} & set(schedule.columns)
    weather = data.observations()
    assert weather.select("origin", "observed_at").is_duplicated().sum() == 0
    assert weather["origin"].unique().sort().to_list() == ["EWR", "JFK", "LGA"]
