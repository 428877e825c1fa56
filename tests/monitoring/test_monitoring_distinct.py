import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.monitoring.distinct import estimate, hashes_of, hashes_of_texts, merge_sketches, sketch
from loopline.monitoring.profile import freeze, merge, profile, profile_parts

floats = st.lists(st.floats(allow_nan=False, width=32), max_size=60)


@pytest.mark.parametrize("many", [0, 1, 7, 90, 3_000, 60_000])
def test_about_as_many_as_there_are(many):
    found = estimate(sketch(hashes_of(np.repeat(np.arange(many, dtype=float) / 7, 2))))
    assert found == pytest.approx(many, rel=4 * 1.04 / math.sqrt(256), abs=0.6)


@settings(deadline=None, max_examples=30)
@given(floats, floats)
def test_two_sketches_make_that_of_the_whole(first, second):
    parts = [sketch(hashes_of(np.array(one, dtype=float))) for one in (first, second)]
    assert merge_sketches(*parts) == sketch(hashes_of(np.array(first + second, dtype=float)))


def test_a_sketch_that_was_not_kept_stays_unknown():
    assert math.isnan(estimate(merge_sketches(b"", sketch(hashes_of(np.array([1.0]))))))


def test_hashes_are_the_same_everywhere():
    assert hashes_of(np.array([0.0, -0.0, 1.5])).tolist() == [0, 0, int(hashes_of(np.array([1.5]))[0])]
    assert hashes_of_texts(["a"]).tolist() == hashes_of(np.array([3904355907.0])).tolist()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 120), max_size=80), st.lists(st.integers(0, 120), max_size=80))
def test_new_values_that_are_kept_are_those_the_whole_keeps(first, second):
    binning = freeze(pl.DataFrame({"c": ["known"]}))
    parts = [pl.DataFrame({"c": [f"new {one}" for one in given]}, {"c": pl.String}) for given in (first, second)]
    merged = merge(*(profile(part, binning) for part in parts))
    assert merged == profile(pl.concat(parts), binning)
    assert merged.categories["c"].unseen == len(first) + len(second)


def test_parts_of_replicas_make_the_whole():
    rng = np.random.default_rng(3)
    rows = pl.DataFrame(
        {
            "x": rng.normal(size=90_000),
            "n": rng.integers(0, 40, 90_000),
            "c": rng.choice(["a", "b", "c"], 90_000),
        }
    ).with_columns(pl.when(pl.col("n") > 35).then(None).otherwise(pl.col("x")).alias("x"))
    binning = freeze(rows[:30_000])
    whole = profile(rows, binning)
    parts = profile_parts((rows[begin : begin + 7_000] for begin in range(0, 90_000, 7_000)), binning)
    assert parts.categories == whole.categories
    for name in ("x", "n"):
        one, other = parts.numbers[name], whole.numbers[name]
        assert (one.counts, one.nulls, one.low, one.high, one.distinct) == (
            other.counts,
            other.nulls,
            other.low,
            other.high,
            other.distinct,
        )
        assert one.mean == pytest.approx(other.mean, abs=1e-12)
        assert one.squares == pytest.approx(other.squares)
    assert whole.numbers["n"].cardinality == pytest.approx(40, rel=0.15)


def test_free_text_and_embeddings_are_profiled_by_what_is_read_from_them():
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(400, 8)) + 1
    texts = [f"{place} " * int(rng.integers(1, 9)) for place in range(400)]
    rows = pl.DataFrame({"review": texts, "embedding": pl.Series(vectors.tolist())})
    binning = freeze(rows)
    assert set(binning.numbers) == {"length of review", "norm of embedding", "nearness of embedding"}
    assert binning.columns() == ["review", "embedding"]
    told = profile(rows, binning).numbers
    assert told["length of review"].mean == pytest.approx(np.mean([len(text) for text in texts]))
    assert told["norm of embedding"].mean == pytest.approx(np.linalg.norm(vectors, axis=1).mean())
    centre = vectors.mean(axis=0)
    cosines = vectors @ centre / np.linalg.norm(vectors, axis=1) / np.linalg.norm(centre)
    assert told["nearness of embedding"].mean == pytest.approx(cosines.mean())
    odd = pl.DataFrame(
        {"review": [None, "abc"], "embedding": [[1.0, 2.0], None]},
        {"review": pl.String, "embedding": pl.List(pl.Float64)},
    )
    strange = profile(odd, binning).numbers
    assert strange["length of review"].nulls == 1
    assert strange["nearness of embedding"].nulls == 2
