"""The loop in operation: sources asked at their own pace, an online store that keeps up, errors that pass."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from loopline.app.home import open_home
from loopline.app.work import lane_works
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.features.online import OnlineFeatures
from loopline.features.point_in_time import point_in_time
from loopline.gates.promotion import CHAMPION
from loopline.loop.declare import Loop
from loopline.loop.history import History
from loopline.loop.ingestion import ingest_until
from loopline.loop.operating import Operating
from loopline.loop.plan import apply
from loopline.loop.replay import Period, replay
from loopline.loop.source import Source
from loopline.loop.turn import LaneWork
from loopline.models import registry
from loopline.models.manifest import read_manifest
from loopline.storage.key_values import open_key_values
from loopline.values import Window

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Asked:
    """A source's function that remembers what it was asked, and fails while told to."""

    def __init__(self, source: Source) -> None:
        self.function, self.windows, self.fails = source.function, [], False
        self.__name__ = source.function.__name__

    def __call__(self, window: Window) -> pl.DataFrame:
        if self.fails:
            message = "the source is down"
            raise ValueError(message)
        self.windows.append(window)
        return self.function(window)


class World:
    """The small loop in operation, its clock moved by hand."""

    def __init__(self, folder: Path, loop: Loop, start: datetime) -> None:
        self.asked = {name: Asked(source) for name, source in loop.sources.items()}
        sources = {name: replace(source, function=self.asked[name]) for name, source in loop.sources.items()}
        self.loop = replace(loop, sources=sources)
        self.clock = ReplayClock(start)
        self.resources = open_home(Settings.read(folder / "home", environment={}), clock=self.clock, silent=True)
        apply(self.resources.database, self.loop, actor="test", at=start)
        works = lane_works(self.resources, self.loop, History(self.resources.tables), compare=False)
        self.online = OnlineFeatures(open_key_values(str(folder / "online")))
        self.operating = Operating(self.resources, self.loop, works, self.online, folder / "spools", start)

    def move(self, by: timedelta) -> bool:
        self.clock.turn_to(self.clock.now() + by)
        self.operating.keep()
        return self.operating.step()


@pytest.fixture
def world(small_loop: Loop, tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, small_loop, START)
    yield made
    made.resources.database.close()


def online_equals_offline(world: World) -> None:
    model = next(iter(world.loop.models.values()))
    now = world.clock.now()
    rows = [{"carrier": carrier} for carrier in ("fast", "slow", "nobody")]
    history = {view.table: world.resources.tables.open(view.table).read() for view in model.views}
    if any(rows.is_empty() for rows in history.values()):
        return
    queries = pl.DataFrame(rows).with_columns(at=pl.lit(now, pl.Datetime("us", "UTC")))
    expected = point_in_time(queries, at="at", views=model.views, history=history)
    found = world.online.read(model.views, rows, [now] * len(rows))
    assert found.keys() == set(expected.columns)
    for name, values in found.items():
        pairs = zip(values, expected[name].to_list(), strict=True)
        assert all(got == (want if want is None else pytest.approx(want, rel=1e-12)) for got, want in pairs), name


def test_sources_are_asked_every_hour_and_the_online_store_keeps_up(world: World) -> None:
    world.operating.prepare()
    for _ in range(30):
        assert world.move(HOUR)
        online_equals_offline(world)
    for asked in world.asked.values():
        assert len(asked.windows) == 30
        assert all(later.start == earlier.end for earlier, later in zip(asked.windows, asked.windows[1:], strict=False))


def test_a_source_that_is_down_loses_nothing(world: World) -> None:
    world.operating.prepare()
    assert world.move(5 * HOUR)
    world.asked["deliveries"].fails = True
    assert not world.move(HOUR)
    assert not world.move(3 * HOUR)
    world.asked["deliveries"].fails = False
    assert world.move(HOUR)
    online_equals_offline(world)
    windows = world.asked["deliveries"].windows
    assert (windows[-1].start, windows[-1].end) == (windows[-2].end, world.clock.now())


def test_what_was_ingested_and_not_yet_filed_online_is_filed_at_the_next_step(world: World) -> None:
    world.operating.prepare()
    world.move(6 * HOUR)
    world.clock.turn_to(world.clock.now() + 2 * HOUR)
    ingest_until(world.resources, world.loop, world.clock.now(), begin=START)  # and here the process died
    assert world.move(HOUR)
    online_equals_offline(world)


def test_after_enough_rows_a_first_model_is_trained_and_published(world: World) -> None:
    world.operating.prepare()
    assert world.move(timedelta(days=16))
    name = world.loop.name
    model = next(iter(world.loop.models))
    with world.resources.database.reading() as tx:
        assert registry.alias(tx, name, model, CHAMPION) == 1
    manifest = read_manifest(world.resources.manifests / f"{name}.json", world.resources.key.public)
    assert manifest.deployments[0].version == 1
    online_equals_offline(world)


def test_a_replay_begins_before_any_source_has_rows(small_loop: Loop, tmp_path: Path) -> None:
    clock = ReplayClock(START - timedelta(days=2))
    resources = open_home(Settings.read(tmp_path / "home", environment={}), clock=clock, silent=True)

    def works(history: History) -> list[LaneWork]:
        return lane_works(resources, small_loop, history, compare=False)

    period = Period(START - timedelta(days=2), START + timedelta(days=2))
    replay(resources, small_loop, period, works, progress=lambda *_: None)
    scored = resources.tables.open("predictions.parcels.late").read()
    assert scored.height == scored["_key"].n_unique() > 40
    resources.database.close()
