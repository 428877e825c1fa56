"""`loopline watch` where few rows have labels and a judge says something of every row."""

from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from loopline.app.alone.keep import watch_in_home
from loopline.app.alone.watch import watch_files
from loopline.app.study.columns import Said
from loopline.app.study.fresh import Request
from loopline.app.study.targets import read_judged
from loopline.errors import InvalidInput

_spec = spec_from_file_location("alone_data", Path(__file__).parent / "alone_data.py")
assert _spec is not None
assert _spec.loader is not None
data = module_from_spec(_spec)
_spec.loader.exec_module(data)

HARM, DAYS = 60, 110


def files(folder, *, harm=HARM, judge=0.97, share=0.06, seed=3, until=DAYS):
    """A service of 300 rows a day of which so few are asked for at random; the judge is right of so many."""
    rng = np.random.default_rng([seed, 1])
    made = data.service(days=DAYS, rows=300, harm=harm, kind="concept", seed=seed, hours=1.0)
    both = made.predictions.join(made.labels, on="prediction_id", maintain_order="left")
    told = both["label"].to_numpy()
    judged = np.where(rng.random(len(told)) < judge, told, 1 - told)
    p = np.clip(share * rng.uniform(0.4, 1.6, len(told)), 0.02, 1)
    asked = rng.random(len(told)) < p
    rows = both.with_columns(verdict=pl.Series(judged).cast(pl.Float64), chance=p)
    rows = rows.with_columns(pl.when(pl.Series(asked)).then(pl.col("label")).alias("label")).drop("labelled_at")
    rows = rows.filter(pl.col("predicted_at") < data.START + timedelta(days=until))
    where = folder / "rows.parquet"
    rows.write_parquet(where)
    return str(where), rows


def watch(where, *, said, **asked):
    return watch_files(Request(where, name="few", said=said, block="1d", matures="1h", **asked), lambda *_: None)


JUDGE = Said(label="label", judge="verdict", propensity="chance", features=("region",))
ALONE = Said(label="label", features=("region",))


@pytest.fixture(scope="module")
def harmed(tmp_path_factory):
    where, rows = files(tmp_path_factory.mktemp("few"))
    return where, rows, watch(where, said=JUDGE)


def first_alarm(watched):
    return next((block.end for block in watched.blocks if block.alarm), None)


def test_harm_is_found_with_its_size_sooner_than_by_the_labels_alone(harmed):
    where, _, watched = harmed
    assert watched.verdict == "harm"
    onset = data.START + timedelta(days=HARM)
    assert onset <= first_alarm(watched) <= onset + timedelta(days=30)
    whole = data.service(days=DAYS, rows=300, harm=HARM, kind="concept", seed=3, hours=1.0)
    late = whole.predictions.join(whole.labels, on="prediction_id").filter(pl.col("predicted_at") > onset)
    p, y = late["score"].to_numpy(), late["label"].to_numpy()
    assert watched.harm.lately.mean == pytest.approx(-np.log(np.where(y == 1, p, 1 - p)).mean(), rel=0.06)
    alone = watch(where, said=ALONE)
    assert first_alarm(alone) is None or first_alarm(alone) > first_alarm(watched)
    assert any("trusted to" in notice for notice in watched.notices)
    assert watched.why.carriers[0].slice == "region=east"


def test_coverage_counts_the_labels_and_not_what_the_judge_says(harmed):
    _, rows, watched = harmed
    assert watched.coverage.labelled == rows["label"].is_not_null().sum()
    assert watched.coverage.share < 0.1
    assert watched.setup.columns.judge == "verdict"
    assert "verdict" not in watched.setup.columns.features


def test_a_judge_who_is_wrong_raises_no_alarm_where_nothing_happens(tmp_path):
    """From the middle on the judge finds everything wrong; the few labels know better."""
    where, rows = files(tmp_path, harm=None)
    turned = pl.when(pl.col("predicted_at") > data.START + timedelta(days=HARM)).then(1 - pl.col("score").round())
    rows.with_columns(turned.otherwise("verdict").alias("verdict")).write_parquet(where)
    assert watch(where, said=JUDGE).verdict == "fine"


@pytest.mark.heavy
def test_a_home_goes_on_with_the_judge_it_began_with(tmp_path):
    for until in (70, DAYS):
        where, _ = files(tmp_path, until=until)
        request = Request(where, name="few", said=JUDGE, block="1d", matures="1h", reference_blocks=33)
        told = watch_in_home(tmp_path / "home", request, lambda *_: None)
    once = watch(where, said=JUDGE, reference_blocks=33)
    assert told.verdict == once.verdict == "harm"
    assert [block.loss for block in told.blocks][33:108] == pytest.approx([block.loss for block in once.blocks][33:108])


def test_what_a_judge_says_is_read_as_labels_are():
    assert read_judged(pl.Series(["no", "yes", None]), "binary", ("no", "yes")).tolist()[:2] == [0.0, 1.0]
    assert read_judged(pl.Series([0.2, 1.0]), "binary", ("0", "1")).tolist() == [0.2, 1.0]
    assert read_judged(pl.Series(["b", "a"]), "multiclass", ("a", "b")).tolist() == [1.0, 0.0]
    assert read_judged(pl.Series([3, 4]), "regression", ()).tolist() == [3.0, 4.0]
    for column, kind in (
        (pl.Series([3.0, 4.0]), "binary"),
        (pl.Series(["x"]), "binary"),
        (pl.Series([1.0]), "ranking"),
    ):
        with pytest.raises(InvalidInput):
            read_judged(column, kind, ("no", "yes"))
