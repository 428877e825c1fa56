"""A week that comes again in the loss is due: it neither pages nor hides what does."""

from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from loopline.app.alone.keep import watch_in_home
from loopline.app.alone.watch import watch_files
from loopline.app.study.fresh import Request

_spec = spec_from_file_location("alone_data", Path(__file__).parent / "alone_data.py")
assert _spec is not None
assert _spec.loader is not None
data = module_from_spec(_spec)
_spec.loader.exec_module(data)

DAYS, ROWS, REFERENCE, ONSET = 140, 300, 56, 90


def rows_of(weekend, harm):
    """On weekends the score tells less, which it does not know; since the onset it tells a little less every day."""
    rng = np.random.default_rng(4)
    day = np.repeat(np.arange(DAYS), ROWS)
    z = rng.normal(0, 1.5, len(day))
    truth = np.where(day % 7 >= 5, 1 - weekend, 1.0) * np.where(day >= ONSET, 1 - harm, 1.0) * z
    at = pl.Series((day + rng.uniform(0.01, 0.99, len(day))) * data.DAY).cast(pl.Int64).cast(pl.Duration("us"))
    label = rng.random(len(day)) < data.sigmoid(truth)
    return pl.DataFrame({"at": at + data.START, "score": data.sigmoid(z), "label": label}).sort("at")


def watched(path, rows, home=None):
    rows.write_parquet(path)
    request = Request(str(path), name="weeks", block="1d", reference_blocks=REFERENCE)
    return watch_files(request, lambda *_: None) if home is None else watch_in_home(home, request, lambda *_: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("season")


def test_a_week_is_learnt_and_due(folder):
    found = watched(folder / "calm.parquet", rows_of(weekend=0.8, harm=0.0))
    season = found.setup.reference.season
    assert len(season) == 7
    assert sum(season) == pytest.approx(0, abs=1e-9)
    by_day = np.array([block.loss for block in found.blocks[:REFERENCE]]).reshape(-1, 7).mean(axis=0)
    assert set(np.argsort(by_day)[-2:]) == {5, 6}
    assert found.verdict == "fine"
    excess = np.array([block.excess for block in found.blocks[REFERENCE:]]).reshape(-1, 7).mean(axis=0)
    assert abs(excess[5:].mean() - excess[:5].mean()) < 0.03, "weekends lose no more than was due"
    assert by_day[5:].mean() - by_day[:5].mean() > 0.2, "though they lose much more"
    assert any("season of the week" in notice for notice in found.notices)


def test_without_a_week_there_is_none(folder):
    assert watched(folder / "even.parquet", rows_of(weekend=0.0, harm=0.0)).setup.reference.season == ()


def test_a_harm_beside_a_week_is_found(folder):
    """Which is too small to be seen where weekends count as chance."""
    onset = data.START + timedelta(days=ONSET)
    found = watched(folder / "harm.parquet", rows_of(weekend=0.8, harm=0.25))
    assert found.verdict == "harm"
    assert abs(found.harm.episodes[-1].since - onset) <= timedelta(days=5)


@pytest.mark.heavy
def test_a_run_that_goes_on_takes_the_week_off_once(folder):
    rows = rows_of(weekend=0.8, harm=0.25)
    whole = watched(folder / "whole.parquet", rows)
    day = (pl.col("at") - data.START).dt.total_days()
    watched(folder / "first.parquet", rows.filter(day < 100), folder / "home")
    again = watched(folder / "then.parquet", rows.filter(day >= 90), folder / "home")
    seen = {block.start: block for block in whole.blocks}
    assert len(again.blocks) >= len(whole.blocks) - 1
    for block in again.blocks[REFERENCE:]:
        one = seen[block.start]
        assert (block.due, block.excess, block.alarm) == (pytest.approx(one.due), pytest.approx(one.excess), one.alarm)
