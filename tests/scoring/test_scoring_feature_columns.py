"""A feature that changes its kind between versions of a model: nothing stops, nothing is lost, each reader gets its kind."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from loopline.scoring.block import Block, encode
from loopline.scoring.feature_columns import as_kinds, one_of_each
from loopline.scoring.record import FEATURE_PREFIX, Prediction
from loopline.scoring.shipper import Shipped, ship
from loopline.scoring.spool import claim_spool
from loopline.tables.tables import Tables

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def prediction(number: int, x: float | str | None, *, kind: str = "") -> Prediction:
    kind = kind or ("category" if isinstance(x, str) else "number")
    features = {"numbers": {"size": float(number)} | ({"x": x} if kind == "number" else {})}
    features |= {"categories": {"x": x}} if kind == "category" else {}
    return Prediction(
        prediction_id=f"pr_{number}",
        project="p",
        endpoint="e",
        model="m",
        model_version=1,
        decision_version=1,
        variant="champion",
        key=str(number),
        at=NOW + timedelta(seconds=number),
        scored_at=NOW,
        score=0.5,
        decision="negative",
        **features,
    )


@pytest.fixture
def tables(tmp_path):
    return Tables(tmp_path / "tables", durable=False)


def shipped(tmp_path, tables, *batches: list[Prediction]) -> pl.DataFrame:
    spool = claim_spool(tmp_path / "spool", fsync=False)
    for batch in batches:
        spool.append([encode(Block.of(one)) for one in batch])
    spool.close()
    [folder] = (tmp_path / "spool").iterdir()
    assert ship(folder, tables) == Shipped(1, sum(map(len, batches)))
    return tables.open("predictions.p.m").read()


def test_both_kinds_are_shipped_and_read_as_either(tmp_path, tables):
    shipped(tmp_path, tables, [prediction(0, 1.5), prediction(1, None)])
    shipped(tmp_path / "b", tables, [prediction(2, "red"), prediction(3, 4.0), prediction(4, "7")])
    rows = shipped(tmp_path / "c", tables, [prediction(5, 8.0)])
    assert rows["prediction_id"].to_list() == [f"pr_{n}" for n in range(6)]
    assert rows["feature_x"].to_list() == [1.5, None, None, 4.0, None, 8.0]
    assert rows["feature_x__category"].to_list() == [None, None, "red", None, "7", None]
    assert rows["feature_size"].to_list() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    named = rows.select(pl.col(f"^{FEATURE_PREFIX}.*$").name.map(lambda name: name.removeprefix(FEATURE_PREFIX)))
    assert as_kinds(named, {"x": "category"})["x"].to_list() == ["1.5", None, "red", "4.0", "7", "8.0"]
    assert as_kinds(named, {"x": "number", "size": "number"})["x"].to_list() == [1.5, None, None, 4.0, None, 8.0]
    assert [one_of_each(row)["x"] for row in rows.iter_rows(named=True)] == [1.5, None, "red", 4.0, "7", 8.0]
    assert set(one_of_each(rows.row(2, named=True))) == {"x", "size"}


def test_a_segment_of_both_kinds_makes_a_new_table(tmp_path, tables):
    rows = shipped(tmp_path, tables, [prediction(0, "red"), prediction(1, 2.0), prediction(2, None, kind="category")])
    assert rows["feature_x"].to_list() == ["red", None, None]
    assert rows["feature_x__number"].to_list() == [None, 2.0, None]


def test_features_of_one_kind_stay_as_they_were(tmp_path, tables):
    rows = shipped(tmp_path, tables, [prediction(0, 1.0), prediction(1, 2.0)])
    assert not [name for name in rows.columns if "__" in name]
    named = rows.select(x="feature_x")
    assert as_kinds(named, {"x": "number"}).equals(named)
