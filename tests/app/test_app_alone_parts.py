"""`loopline watch` reads files in parts: what it finds does not depend on how they are cut, nor its memory on how many rows there are."""

import os
import resource
import subprocess
import sys
from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.app.alone.watch import watch_files
from loopline.app.study import shelf
from loopline.app.study.calibration import Prices
from loopline.app.study.columns import Said
from loopline.app.study.fresh import Request
from loopline.app.study.in_order import in_order, order_of
from loopline.app.study.join import NEVER
from loopline.app.study.shelf import Shelf
from loopline.app.study.texts import Coding
from loopline.app.study.times import TimeReader
from loopline.errors import Unavailable

_spec = spec_from_file_location("alone_data", Path(__file__).parent / "alone_data.py")
assert _spec is not None
assert _spec.loader is not None
data = module_from_spec(_spec)
_spec.loader.exec_module(data)

MADE = data.service(days=40, rows=150, harm=25, kind="concept")
P, L = MADE.predictions, MADE.labels
BOTH = P.join(L.drop("labelled_at"), on="prediction_id", maintain_order="left")
LATE = pl.col("predicted_at") > data.START + timedelta(days=25)
SMALL = 397
MINE = """
import loopline as ll
@ll.monitor(tolerance=0.05, start=0.0)
def drifting(memory, rows):
    mean = 0.9 * memory + 0.1 * rows["amount"].mean()
    return mean, rows["amount"].clip(0, 1)
"""


def _watched(folder, frames, part, monkeypatch, **asked):
    monkeypatch.setattr(shelf, "PART", part)
    paths = [folder / f"{name}.parquet" for name in ("predictions", "labels")]
    for frame, path in zip(frames, paths, strict=True):
        if frame is not None:
            frame.write_parquet(path, row_group_size=400)
    request = Request(str(paths[0]), str(paths[1]) if frames[1] is not None else None, name="service", **asked)
    return msgspec.json.encode(watch_files(request, lambda *_: None))


def _everything():
    """Versions, decisions, an earlier model, labels that came twice or have no prediction, ids and times that repeat, waiting rows."""
    predictions = P.with_columns(
        model_version=pl.when(LATE).then(pl.lit("7")).otherwise(pl.lit("6")),
        decision=pl.when(pl.col("score") > 0.4).then(pl.lit("yes")).otherwise(pl.lit("no")),
        earlier_score=pl.lit(0.33),
        predicted_at=pl.col("predicted_at").dt.truncate("20m").dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    twice = L.with_columns(label=1 - pl.col("label"), labelled_at=pl.col("labelled_at") - pl.duration(hours=1))
    lonely = L.head(99).with_columns(prediction_id="no" + pl.col("prediction_id"))
    labels = pl.concat([twice, L, lonely]).filter(pl.col("labelled_at") < data.START + timedelta(days=38))
    return pl.concat([predictions, predictions.head(500)]), labels


def _classes():
    p = np.column_stack([P["score"] * 0.7, 1 - P["score"], P["score"] * 0.3])
    drawn = (np.random.default_rng(1).random(len(P))[:, None] > p.cumsum(axis=1)).sum(axis=1)
    names = np.array(["cat", "dog", "owl"])
    return P.drop("score").with_columns(outputs=pl.Series(p.tolist()), label=pl.Series(names[drawn])), None


CASES = {
    "everything": (_everything, {"prices": Prices(1, 4)}),
    "margins without times": (
        lambda: (BOTH.drop("predicted_at").with_columns((pl.col("score") / (1 - pl.col("score"))).log()), None),
        {},
    ),
    "classes": (_classes, {"said": Said(score=("outputs",))}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_found_does_not_depend_on_the_parts(tmp_path, monkeypatch, case):
    made, asked = CASES[case]
    (tmp_path / "mine.py").write_text(MINE)
    asked |= {"monitors": (str(tmp_path / "mine.py"),)}
    whole, parted = (_watched(tmp_path, made(), part, monkeypatch, **asked) for part in (10**9, SMALL))
    assert parted == whole


def test_files_that_are_not_sorted_are_put_in_order_part_by_part(tmp_path, monkeypatch):
    """Blocks so good or bad that the level is taken out, which looks at whole blocks."""
    rng = np.random.default_rng(0)
    day = ((P["predicted_at"] - data.START).dt.total_days()).to_numpy()
    z = np.log(P["score"] / (1 - P["score"])).to_numpy()
    label = rng.random(len(P)) < data.sigmoid(z + rng.normal(0, 2.0, 40)[day])
    rows = P.drop("prediction_id").with_columns(label=pl.Series(label))
    whole = _watched(tmp_path, (rows, None), 10**9, monkeypatch)
    shuffled = _watched(tmp_path, (rows.sample(fraction=1, shuffle=True, seed=3), None), SMALL, monkeypatch)
    assert msgspec.json.decode(whole)["setup"]["scale"]["level_free"]
    assert shuffled == whole


@given(
    at=st.lists(st.sampled_from([NEVER, -5, 0, 1, 2, 3, 9]), min_size=1, max_size=40),
    part=st.integers(1, 9),
    left=st.integers(0, 2**40 - 1),
)
def test_the_order_of_time_is_that_of_a_stable_sort(tmp_path_factory, at, part, left):
    moments = np.array(at, dtype=np.int64)
    out = np.array([bool(left >> place & 1) for place in range(len(at))])
    kept = [place for place in range(len(at)) if at[place] != NEVER and not out[place]]
    expected = sorted(kept, key=lambda place: at[place])
    for folder in (None, tmp_path_factory.getbasetemp() / "order"):
        one = Shelf(folder, part)
        order, timeless = order_of(moments, out, NEVER, one, timed=True)
        assert order.tolist() == expected
        assert timeless == at.count(NEVER)
        given = {"at": moments, "two": np.column_stack([moments, -moments]).astype(float), "none": None}
        inside = in_order(given, order, one)
        assert inside["at"].tolist() == [at[place] for place in expected]
        assert inside["two"].tolist() == [[at[place], -at[place]] for place in expected]
        assert inside["none"] is None


def test_columns_on_a_shelf_are_as_they_were_put_there(tmp_path):
    one = Shelf(tmp_path / "rows", 10)
    first, second = np.arange(35.0), np.arange(70).reshape(35, 2)
    kept = one.keep([first[part], second[part]] for part in one.parts(35))
    assert [column.tolist() for column in kept] == [first.tolist(), second.tolist()]
    assert one.taken(kept[1], np.array([0, 7, 34])).tolist() == [[0, 1], [14, 15], [68, 69]]
    with pytest.raises(ValueError, match="read-only"):
        kept[0][3] = 1.0
    blank = one.blank(35, np.nan, np.float64)
    one.put(blank, np.array([2, 30]), np.array([5.0, 6.0]))
    assert (blank[2], blank[30], int(np.isnan(blank).sum())) == (5.0, 6.0, 33)
    assert not list((tmp_path / "rows").iterdir()), "a file goes with its column"


def test_a_full_disk_is_said_with_what_to_do(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        for fill in (lambda one: one.keep([[np.zeros(1000)]]), lambda one: one.blank(1000, 0.0, np.float64)):
            with pytest.raises(Unavailable, match="no room") as refused:
                fill(Shelf(tmp_path / "rows"))
            assert "TMPDIR" in refused.value.remedy
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_texts_are_numbered_part_by_part():
    column = pl.Series("version", ["b", None, "a", "b", "c", None])
    coding = Coding()
    made = coding.texts("version", np.concatenate([coding.codes(column[:3]), coding.codes(column[3:])]))
    assert made.part(0, 6).to_list() == column.to_list()
    assert made.at(np.array([1, 4]), Shelf()).to_list() == [None, "c"]


@pytest.mark.parametrize(
    ("parts", "shift", "lost"),
    [
        ([["2024-01-01"], ["2024-01-02", None]], 43_200_000_000, 0),
        ([["2024-01-01"], ["2024-01-02 03:00"]], 0, 0),
        ([["2024-01-01 00:00"] * 20, ["2024-01-02T00:00:00Z", "soon"]], 0, 1),
    ],
)
def test_days_are_their_noon_only_where_all_are_days(parts, shift, lost):
    reader = TimeReader(pl.Series("at", parts[0]))
    found = pl.concat([reader.read(pl.Series("at", part)) for part in parts])
    told = reader.told()
    assert (told[0], found[0]) == (shift, 1_704_067_200_000_000)
    assert any("no times" in one for one in told[1]) == bool(lost)


@pytest.mark.heavy
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="says a process's own peak, not that of who started it"
)
def test_memory_does_not_grow_with_the_rows(tmp_path):
    """Of twice as many rows beyond those that causes are read from; shuffled, with labels in a file of their own."""
    peaks = [_peak(tmp_path, days) for days in (200, 400)]
    assert peaks[1] - peaks[0] < 40, peaks


def _peak(folder, days):
    rng = np.random.default_rng(0)
    rows = days * 10_000
    at = (
        pl.Series((np.sort(rng.uniform(0, days, rows)) * data.DAY).astype(np.int64)).cast(pl.Duration("us"))
        + data.START
    )
    score = pl.Series(rng.uniform(0.1, 0.9, rows))
    ids = pl.select(pl.format("row-{}", pl.int_range(rows))).to_series()
    rows_ = pl.DataFrame({"prediction_id": ids, "predicted_at": at, "score": score, "x": score + 1.0})
    label = pl.DataFrame({"prediction_id": ids, "label": rng.random(rows) < score.to_numpy()})
    rows_.sample(fraction=1, shuffle=True, seed=1).write_parquet(folder / "predictions.parquet")
    label.sample(fraction=1, shuffle=True, seed=2).write_parquet(folder / "labels.parquet")
    code = (
        "import sys\n"
        "from loopline.app.alone.watch import watch_files\n"
        "from loopline.app.study.fresh import Request\n"
        "watch_files(Request(sys.argv[1], sys.argv[2]), lambda *_: None)\n"
        "[peak] = [line for line in open('/proc/self/status') if line.startswith('VmHWM')]\n"
        "print(int(peak.split()[1]) / 1024)\n"
    )
    command = [sys.executable, "-c", code, str(folder / "predictions.parquet"), str(folder / "labels.parquet")]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))
    return float(told.stdout)
