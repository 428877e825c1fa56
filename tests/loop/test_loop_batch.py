"""Batch scoring: what the loop itself scored, whatever the rows come from and however they are cut into parts."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from loopline.access.identity import Identity
from loopline.access.permissions import Permission
from loopline.errors import Conflict, InvalidInput, LooplineError, NotPermitted
from loopline.ledger import chain
from loopline.loop.batch import BatchRequest, folder_of, score_batch
from loopline.loop.resources import Resources
from loopline.scoring.batch.run import BatchScored
from loopline.sources.whole import WholeFiles, WholeQuery, WholeTable

CALLER = Identity("tester", frozenset({Permission.PREDICTIONS_CREATE}), "t")
INTO = "scores.parcels"
EXACT = ["_key", "_event_time", "score", "decision", "degraded", "feature_way", "feature_carrier", "model_version"]


def request(source, **changed) -> BatchRequest:
    return BatchRequest("parcels", "late", source, **({"into": INTO} | changed))


def scored(resources: Resources, source, **changed) -> BatchScored:
    return score_batch(resources, request(source, **changed), CALLER)


@pytest.fixture
def logged(copied: Resources) -> pl.DataFrame:
    """What the loop scored itself by the version that serves at the end."""
    rows = copied.tables.open("predictions.parcels.late").read()
    version = rows["model_version"][-1]
    return rows.filter((pl.col("model_version") == version) & (pl.col("variant") == "champion")).sort("_key")


@pytest.fixture
def orders(logged: pl.DataFrame, tmp_path: Path) -> Path:
    """The same rows as a file: key, time and what a caller gives."""
    path = tmp_path / "orders.parquet"
    given = logged.select(parcel="_key", sends="_event_time", carrier="feature_carrier", way="feature_way")
    given.with_columns(note=pl.lit("not asked for")).write_parquet(path)
    return path


def written(resources: Resources, into: str = INTO) -> pl.DataFrame:
    return resources.tables.open(into).read().sort("_key")


def test_a_file_gives_what_the_loop_scored(copied, logged, orders):
    done = scored(copied, WholeFiles(str(orders)))
    rows = written(copied)
    assert rows.select("_key", "_event_time", "score").equals(logged.select("_key", "_event_time", "score"))
    features = [name for name in logged.columns if name.startswith("feature_")]
    assert rows.select(features).equals(logged.select(features))
    assert (done.rows, done.refused, done.version, done.already) == (logged.height, 0, 1, False)
    assert not list(folder_of(copied).glob("*/*"))
