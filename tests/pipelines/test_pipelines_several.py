"""Steps that give several values: one handle, one artifact, one cache entry for each; frames of pandas among them."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

import loopline as ll
import loopline.pipelines.healing.store
import loopline.pipelines.store  # their tables are part of the database that the tests get
from loopline.clock import SystemClock
from loopline.errors import DeclarationError
from loopline.pipelines import reading
from loopline.pipelines.codecs import artifacts_of, bring, items_of, keep, kept_parts
from loopline.pipelines.dry_run import dry_run
from loopline.pipelines.engine import Engine
from loopline.pipelines.executions import submit
from loopline.pipelines.inline import Inline
from loopline.pipelines.planning import plan
from loopline.storage.artifacts import open_artifacts

calls: Counter[str] = Counter()


@ll.step(reuse=False)
def halves(count: int, odd: int) -> tuple[pd.DataFrame, pd.Series, np.ndarray]:
    frame = pd.DataFrame({"n": range(count), "word": ["x"] * count}, index=pd.Index(range(count), name="at"))
    return frame, frame["n"] * 2, np.arange(odd)


@ll.step
def rows(frame: pd.DataFrame | pd.Series) -> int:
    calls["rows"] += 1
    return len(frame)


@ll.step
def size(array: np.ndarray) -> int:
    calls["size"] += 1
    return int(array.size)


@ll.step
def whole(given: tuple[pd.DataFrame, pd.Series, np.ndarray]) -> list[str]:
    return [type(one).__name__ for one in given]


@ll.pipeline
def several(count: int, odd: int):
    frame, series, array = both = halves(count, odd)
    return rows(frame), rows(series), size(array), whole(both), frame


@ll.step
def wrong(count: int) -> tuple[int, int]:
    return (count, count, count) if count else [1, 2]


@ll.pipeline
def mistaken(count: int):
    first, _ = wrong(count)
    return first


@ll.step
def yes(count: int) -> bool:
    return count > 0


@ll.step
def seen(first: int | None) -> str:
    return str(first)


@ll.step
def pair(count: int) -> tuple[int, str]:
    return count, "b"


@ll.pipeline
def skipping(count: int):
    first, _ = pair(count, when=yes(count))
    return seen(first)


@pytest.fixture
def engine(tmp_path):
    calls.clear()
    return Engine(open_artifacts(str(tmp_path / "artifacts"), durable=False), SystemClock())


@pytest.fixture
def run(database, engine, tmp_path):
    def go(pipeline, **params):
        planned = plan(pipeline, params, engine.artifacts)
        with database.transaction() as tx:
            execution, _ = submit(tx, engine, planned)
        state = Inline(engine, database, tmp_path / "code", planned.functions).run(execution)
        with database.reading() as tx:
            if state == "failed":
                return reading.failures_of(tx, execution)[0][1].message
            return reading.result_of(tx, execution, engine.artifacts)

    return go


def test_each_value_goes_its_own_way(run):
    *counts, frame = run(several, count=3, odd=5)
    assert counts == [3, 3, 5, ["DataFrame", "Series", "ndarray"]]
    assert_frame_equal(frame, halves(3, 5)[0])


def test_what_takes_one_value_is_not_run_again_for_a_change_of_another(run):
    run(several, count=3, odd=5)
    run(several, count=3, odd=6)
    assert calls == {"rows": 2, "size": 2}


def test_a_dry_run_knows_what_becomes_of_each_value(run, database, engine):
    run(skipping, count=1)
    with database.reading() as tx:
        told = {one.step: one.would for one in dry_run(tx, engine, plan(skipping, {"count": 1}, engine.artifacts))}
    assert told == {"yes": "reused", "pair": "reused", "seen": "reused"}


def test_of_a_skipped_step_each_value_is_none(run):
    assert run(skipping, count=1) == "1"
    assert run(skipping, count=0) == "None"


@pytest.mark.parametrize(("count", "said"), [(4, "a tuple of 3"), (0, "list")])
def test_another_number_of_values_than_the_annotation_says_fails_the_step(run, count, said):
    assert run(mistaken, count=count) == f"`wrong` returned {said}, and says that it returns 2 values"


def test_values_must_fit_where_they_go(engine):
    def body():
        _, word = pair(1)
        return rows(word)

    with pytest.raises(DeclarationError, match=r"takes pandas.*DataFrame .* and what `pair` .* is str"):
        plan(ll.pipeline(name="p")(body), {}, engine.artifacts)


def test_one_value_cannot_be_unpacked(engine):
    def body():
        first, other = yes(1)
        return first, other

    with pytest.raises(DeclarationError, match="has no elements yet"):
        plan(ll.pipeline(name="p")(body), {}, engine.artifacts)


def test_large_and_small_parts_are_kept_each_by_itself(engine):
    frame, series = pd.DataFrame({"n": range(5000)}), pd.Series([1.5, None], name="s", index=["a", "b"])
    kept = kept_parts([keep(frame, engine.artifacts), keep(series, engine.artifacts), keep(7, engine.artifacts)])
    assert artifacts_of(kept, engine.artifacts) == [keep(frame, engine.artifacts).digest]
    assert [one.codec for one in items_of(kept, engine.artifacts)] == ["pandas", "pandas", "json"]
    back, other, seven = bring(kept, tuple[pd.DataFrame, pd.Series, int], engine.artifacts)
    assert_frame_equal(back, frame)
    assert_series_equal(other, series)
    assert seven == 7
