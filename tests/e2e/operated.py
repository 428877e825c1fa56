"""A home that a small loop ran in for a while, and all that can be said of what is in it."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from loopline.access.identity import Identity
from loopline.access.permissions import Permission
from loopline.app.home import open_home
from loopline.app.work import lane_works
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.ledger import chain
from loopline.loop.batch import BatchRequest, score_batch
from loopline.loop.load import load_loop
from loopline.loop.replay import Period, replay
from loopline.loop.resources import Resources
from loopline.models import registry
from loopline.models.package import decode_package
from loopline.sources.whole import WholeTable

SMALL_LOOP = Path(__file__).parents[1] / "loop" / "small_loop.py"
START = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = START + timedelta(days=16)
CALLER = Identity("tester", frozenset({Permission.PREDICTIONS_CREATE}), "t")


@dataclass(frozen=True)
class Held:
    """What a home holds, in digests: of ledgers, of each version of each table, of artifacts and of models."""

    ledgers: dict[str, str]
    tables: dict[str, list[str]]
    artifacts: list[str]
    models: dict[str, Any]


def settings_in(home: Path, **environment: str) -> Settings:
    return Settings.read(home, environment={"LOOPLINE_DURABLE": "0"} | environment)


def opened(settings: Settings) -> Resources:
    return open_home(settings, clock=ReplayClock(UNTIL), seed=7, silent=True)


def operate(settings: Settings) -> None:
    """Ingest, train, promote, score, join and watch for some days."""
    loop = load_loop(SMALL_LOOP)
    resources = open_home(settings, clock=ReplayClock(START), seed=7, silent=True)
    replay(
        resources,
        loop,
        Period(START, UNTIL),
        lambda history: lane_works(resources, loop, history, compare=False),
        progress=lambda *_: None,
    )
    resources.database.close()


def score(settings: Settings, into: str) -> pl.DataFrame:
    """Score the sendings by the champion, all at once; what was scored."""
    resources = opened(settings)
    request = BatchRequest("parcels", "late", WholeTable(resources.tables, "parcels.sendings"), into)
    score_batch(resources, request, CALLER)
    rows = resources.tables.open(into).read().sort("_key")
    resources.database.close()
    return rows.drop("prediction_id", "decision_version")


def held(settings: Settings) -> Held:
    resources = opened(settings)
    with resources.database.reading() as tx:
        ledgers = {name: chain.verify(tx, name).digest for name in chain.projects(tx)}
        versions = registry.versions(tx, "parcels", "late")
    tables = {name: _digests(resources, name) for name in resources.tables.names()}
    models = {str(one.version): repr(decode_package(resources.artifacts.get(one.package))) for one in versions}
    artifacts = sorted(resources.artifacts.digests())
    assert all(resources.artifacts.get(one) for one in artifacts)
    resources.database.close()
    return Held(ledgers, tables, artifacts, models)


def _digests(resources: Resources, name: str) -> list[str]:
    table = resources.tables.open(name)
    return [_digest(table.read(version=version)) for version in range(table.version + 1)]


def _digest(frame: pl.DataFrame) -> str:
    return hashlib.sha256(f"{frame.schema}".encode() + frame.write_json().encode()).hexdigest()
