"""What nothing needs goes and everything else stays: versions of tables, what was reproduced before, erasures, replays in use."""

import os
import shutil
import time
from dataclasses import replace
from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Event, Thread

import pytest

from loopline.app.references import needed
from loopline.app.tidy import FEWEST_FILES, Tidying, tidy
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.errors import InvalidInput
from loopline.loop.load import load_loop
from loopline.loop.reproduce import reproduce
from loopline.monitoring.watch import list_monitors
from loopline.pipelines import reading
from loopline.pipelines.home import PipelineHome
from loopline.pipelines.load import load_pipeline
from loopline.scoring.spool_folder import Lock

_spec = spec_from_file_location("operated", Path(__file__).parents[1] / "e2e" / "operated.py")
operated = module_from_spec(_spec)
_spec.loader.exec_module(operated)

DAY = 86_400
COUNTING = """
import loopline as ll

@ll.step
def numbers(upto: int) -> list[int]:
    return list(range(upto))

@ll.pipeline
def count(upto: int):
    return numbers(upto)
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    settings = operated.settings_in(tmp_path_factory.mktemp("ran") / "home")
    operated.operate(settings)
    return settings


@pytest.fixture
def home(ran, tmp_path) -> Settings:
    shutil.copytree(ran.home, tmp_path / "home")
    return operated.settings_in(tmp_path / "home")


def aged(path: Path, days: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.exists() or path.write_bytes(b"x")
    when = time.time() - days * DAY
    os.utime(path, (when, when))
    return path


def litter(settings: Settings) -> list[Path]:
    """What shall go, all of it old enough."""
    resources = operated.opened(settings)
    spare = resources.artifacts.put(b"nobody's")
    resources.database.close()
    (settings.spool_path / "0000").mkdir(parents=True)
    (settings.spool_path / "0000" / "spool.json").write_text('{"id":"x"}')
    return [
        aged(settings.home / "artifacts" / spare[7:9] / spare[9:], 31),
        aged(settings.spool_path / "0000" / "0000000001.torn", 31),
        aged(settings.home / "manifests" / ".pending-x", 3),
        aged(settings.home / "artifacts" / "transit" / spare[7:9] / spare[9:], 3),
        aged(settings.home / "tables" / "parcels.sendings" / "part-0.parquet", 3),
    ]


def young(settings: Settings) -> list[Path]:
    """The same things, not old enough; and a damaged segment, which is evidence."""
    resources = operated.opened(settings)
    spare = resources.artifacts.put(b"somebody's, soon")
    resources.database.close()
    return [
        aged(settings.home / "artifacts" / spare[7:9] / spare[9:], 29),
        aged(settings.spool_path / "0000" / "0000000002.torn", 29),
        aged(settings.spool_path / "0000" / "0000000003.corrupt", 99),
        aged(settings.home / "manifests" / ".pending-y", 1),
        aged(settings.home / "tables" / "parcels.sendings" / "part-1.parquet", 1),
    ]


def files(settings: Settings) -> dict[Path, bytes]:
    found = (path for path in settings.home.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in found if ".lock" not in path.name and "loopline.db" not in path.name}


def test_nothing_that_is_needed_goes(home):
    before = operated.held(home)
    resources = operated.opened(home)
    for path in (home.home / "artifacts").rglob("*"):
        aged(path, 400) if path.is_file() else None
    for path in (home.home / "tables").rglob("*"):
        aged(path, 400) if path.is_file() else None
    going, staying = litter(home), young(home)
    needs = needed(resources.database, resources.artifacts)
    done = tidy(home, resources)
    assert [path for path in going if path.exists()] == []
    assert [path for path in staying if not path.exists()] == []
    compacted = [line for line in done if line.what == "files made fewer"]
    assert compacted
    assert all(line.count >= FEWEST_FILES - 1 for line in compacted)
    assert all(resources.artifacts.exists(digest) for digest in needs)
    resources.database.close()
    after = operated.held(home)
    assert (after.ledgers, after.models) == (before.ledgers, before.models)
    assert {*before.artifacts} <= {*after.artifacts}
    for name, versions in before.tables.items():
        assert after.tables[name][: len(versions)] == versions
        assert after.tables[name][-1] == versions[-1]


def test_a_version_is_still_made_again_from_its_pins(home):
    resources = operated.opened(home)
    tidy(home, resources, now=SystemClock().now() + timedelta(days=400))
    loop = load_loop(operated.SMALL_LOOP)
    report = reproduce(resources, loop, project="parcels", model="late", version=1)
    assert report.same
    resources.database.close()


def test_a_dry_run_tells_the_same_and_changes_nothing(home):
    litter(home)
    resources = operated.opened(home)
    before = files(home)
    planned = tidy(home, resources, dry=True)
    assert files(home) == before
    assert tidy(home, resources) == planned
    assert tidy(home, resources) == []
    resources.database.close()


def test_replays_go_only_where_it_is_said_and_nobody_uses_them(home):
    for name, days in (("old", 40), ("young", 1), ("used", 40)):
        shutil.copytree(home.home, home.home.parent / name)
        shutil.move(home.home.parent / name, home.replays_path / name)
        for path in (home.replays_path / name).rglob("*"):
            aged(path, days) if path.is_file() else None
    resources = operated.opened(home)
    tidy(home, resources)
    assert sorted(path.name for path in home.replays_path.iterdir()) == ["old", "used", "young"]
    held = Lock(home.replays_path / "used" / "up.lock")
    aged(home.replays_path / "used" / "up.lock", 40)
    chosen = operated.settings_in(home.home, LOOPLINE_KEEP_REPLAYS="30d")
    assert [line.place for line in tidy(chosen, resources)] == ["replay old"]
    assert sorted(path.name for path in home.replays_path.iterdir()) == ["used", "young"]
    held.close()
    resources.database.close()


def test_executions_that_ended_long_ago_keep_their_row_only(home, tmp_path):
    module = tmp_path / "counting.py"
    module.write_text(COUNTING)
    pipelines = PipelineHome(home)
    pipeline = load_pipeline(f"{module}:count")
    ran = [pipelines.run(pipeline, {"upto": upto}) for upto in (2, 3)]
    resources = operated.opened(home)
    later = SystemClock().now() + timedelta(days=91)
    for settings, told in (
        (operated.settings_in(home.home, LOOPLINE_KEEP_EXECUTIONS=""), []),
        (home, [("executions", 1), ("cache", 1)]),
        (home, []),
    ):
        done = [(line.place, line.count) for line in tidy(settings, resources, now=later)]
        assert [one for one in done if one[0] in {"executions", "cache"}] == told
    with pipelines.database.reading() as tx:
        assert [len(list(reading.steps_of(tx, one))) for one in ran] == [0, 1]
    pipelines.close()
    resources.database.close()


def test_artifacts_elsewhere_are_kept_unless_it_is_said(bucket, tmp_path, s3):
    def settings(**more):
        return operated.settings_in(tmp_path / "home", LOOPLINE_ARTIFACTS_URL=f"{bucket}/artifacts", **more)

    resources = operated.opened(settings())
    digest = resources.artifacts.put(b"of another home, for all one knows")
    later = SystemClock().now() + timedelta(days=400)
    assert tidy(settings(), resources, now=later) == []
    assert resources.artifacts.exists(digest)
    [line] = tidy(settings(LOOPLINE_KEEP_ARTIFACTS="90d"), resources, now=later)
    assert (line.place, line.count) == ("artifacts", 1)
    assert not resources.artifacts.exists(digest)
    resources.database.close()


def test_it_comes_as_often_as_was_said_whoever_restarts(home):
    resources = operated.opened(home)
    now = SystemClock().now()
    assert Tidying(home, resources).step(now)
    assert not Tidying(home, resources).step(now + timedelta(hours=23))
    assert Tidying(home, resources).step(now + timedelta(hours=25))
    never = operated.settings_in(home.home, LOOPLINE_TIDY_EVERY="")
    assert not Tidying(never, resources).step(now + timedelta(days=99))
    with pytest.raises(InvalidInput):
        Tidying(operated.settings_in(home.home, LOOPLINE_KEEP_REPLAYS="soon"), resources)
    resources.database.close()


def test_the_thread_of_up_does_it_and_stops(home):
    going = litter(home)
    resources = operated.opened(home)
    often = operated.settings_in(home.home, LOOPLINE_TIDY_EVERY="1s")
    stop = Event()
    thread = Thread(target=Tidying(often, resources).run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + 60
    while any(path.exists() for path in going) and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert [path for path in going if path.exists()] == []
    resources.database.close()


def test_predictions_are_kept_as_long_as_it_is_said_and_until_they_are_watched(home):
    resources = operated.opened(home)
    [name] = [one for one in resources.tables.names() if one.startswith("predictions.")]
    table = resources.tables.open(name)
    at = sorted(table.read()["_event_time"].to_list())
    kept = replace(home, keep_predictions=f"{int((resources.clock.now() - at[len(at) // 2]).total_seconds())}s")
    assert not [line for line in tidy(home, resources) if line.what == "rows retired"]
    dry = [line for line in tidy(kept, resources, dry=True) if line.what == "rows retired"]
    [line] = [line for line in tidy(kept, resources) if line.what == "rows retired"]
    assert [line] == dry
    left = sorted(table.read()["_event_time"].to_list())
    assert line.count == len(at) - len(left) > 0
    with resources.database.reading() as tx:
        [monitor, *_] = [one for one in list_monitors(tx, "parcels") if one.name == "harm"]
    assert [one for one in at if one > monitor.watermark] == [one for one in left if one > monitor.watermark]
    resources.database.close()
