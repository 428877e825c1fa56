"""Counts are those of the plain way: each value is searched for among the edges, each text is looked up."""

import math
import zlib
from collections import Counter
from datetime import date
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput
from loopline.monitoring.counting import count_categories, count_numbers, floats_of
from loopline.monitoring.distinct import hashes_of
from loopline.monitoring.profile import (
    Profile,
    freeze,
    merge,
    profile,
    profile_after,
    profile_scan,
    reference_profile,
)

EDGES = [
    (0.0, 1.0, 2.5, 4.0),
    (-1.0, 0.0, 1.0),
    (3.0, 3.0),
    (0.1, 0.2, 0.30000000000000004),
    tuple(map(float, range(21))),
]
some = st.floats(-5, 25) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e100, -1e100, 5e-324])
on_edges = st.sampled_from(sorted({edge for edges in EDGES for edge in edges}))
near_edges = on_edges.map(lambda edge: math.nextafter(edge, math.inf)) | on_edges.map(
    lambda edge: math.nextafter(edge, -1)
)
columns = st.lists(some | on_edges | near_edges, max_size=60)
texts = st.lists(st.none() | st.sampled_from(["a", "b", "", "ä", "A", " a"]) | st.text(max_size=2), max_size=60)


def plain_place(value, edges):
    if math.isnan(value):
        return len(edges) + 1
    place = int(np.searchsorted(edges[:-1], value, side="right"))
    return place if value <= edges[-1] else len(edges)


def plain_sketch(hashes):
    registers = [0] * 256
    for one in hashes:
        bits = format(int(one) >> 8, "056b")
        rank = len(bits) - len(bits.rstrip("0")) + 1 if "1" in bits else 56
        registers[int(one) % 256] = max(registers[int(one) % 256], rank)
    return bytes(registers)


@settings(deadline=None)
@given(columns, st.sampled_from(EDGES), st.integers(0, 60))
def test_numbers_as_they_are_counted_one_by_one(values, edges, cut):
    bounds = (0, min(cut, len(values)), len(values))
    x, places = np.array(values, dtype=np.float64), np.empty(len(values), dtype=np.uint8)
    with np.errstate(all="ignore"):
        told = count_numbers(x, edges, bounds, places)
        assert told == count_numbers(x, edges, bounds)
    assert places.tolist() == [plain_place(value, edges) for value in values]
    for one, (first, last) in zip(told, pairwise(bounds), strict=True):
        stretch = values[first:last]
        counted = Counter(plain_place(value, edges) for value in stretch)
        assert (*one.counts, one.nulls) == tuple(counted[place] for place in range(len(edges) + 2))
        finite = [value for value in stretch if math.isfinite(value)]
        assert (one.finite, one.low, one.high) == (len(finite), min(finite, default=None), max(finite, default=None))
        assert one.distinct == plain_sketch(hashes_of(np.array([v for v in stretch if not math.isnan(v)], dtype=float)))
        if finite and max(map(abs, finite)) < 1e9:
            assert one.mean == pytest.approx(math.fsum(finite) / len(finite), abs=1e-9)
            assert one.squares == pytest.approx(math.fsum((v - one.mean) ** 2 for v in finite), rel=1e-9, abs=1e-9)


def test_numbers_of_many_pieces_as_numpy_counts_them():
    """More rows than are looked at together, sorted in part, so that whole pieces lie in one bin; and a sketch that is full."""
    rng = np.random.default_rng(2)
    x = np.concatenate(
        [np.sort(rng.gamma(2, 2, 80_000)), np.round(rng.normal(3, 3, 50_000), 1), [np.nan, np.inf, -np.inf]]
    )
    edges = tuple(np.quantile(x[:1000], np.linspace(0, 1, 21)).tolist())
    places = np.empty(len(x), dtype=np.uint8)
    (one,) = count_numbers(x, edges, (0, len(x)), places)
    known = x[~np.isnan(x)]
    inside = np.histogram(known[(known >= edges[0]) & (known <= edges[-1])], edges)[0].tolist()
    assert one.counts == (int((known < edges[0]).sum()), *inside, int((known > edges[-1]).sum()))
    assert np.bincount(places, minlength=22).tolist() == [*one.counts, 1]
    assert one.distinct == plain_sketch(np.unique(hashes_of(known)))


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([3, None, -2, 2**53], dtype=pl.Int64),
        pl.Series([3, None, 200], dtype=pl.UInt8),
        pl.Series([0.1, None, math.nan], dtype=pl.Float32),
        pl.Series([None, None], dtype=pl.Null),
    ],
)
def test_numbers_of_every_kind_are_read_as_floats(column):
    wanted = [math.nan if value is None else float(value) for value in column.to_list()]
    np.testing.assert_array_equal(floats_of(column), wanted)


def test_what_is_no_number_is_told():
    for column in (pl.Series([True]), pl.Series([date(2026, 1, 1)]), pl.Series(["1"])):
        with pytest.raises(InvalidInput, match="was numeric"):
            floats_of(column)


def kinds(values):
    """The same texts as a column of texts, of categories, and of known categories."""
    column = pl.Series(values, dtype=pl.String)
    known = pl.Enum(column.drop_nulls().unique(maintain_order=True))
    return column, column.cast(pl.Categorical), column.cast(known)


@settings(deadline=None, max_examples=25)
@given(texts, st.lists(st.sampled_from(["a", "b", "", "z"]), unique=True), st.integers(0, 60))
def test_categories_as_they_are_counted_one_by_one(values, known, cut):
    bounds = (0, min(cut, len(values)), len(values))
    index = {value: place for place, value in enumerate(known)} | {None: len(known) + 1}
    for column in kinds(values):
        places = np.empty(len(values), dtype=np.uint8)
        (whole,) = count_categories(column, known, (0, len(values)))
        assert count_categories(column, known, (0, len(values)), places) == [whole]
        assert places.tolist() == [index.get(value, len(known)) for value in values]
        counted = Counter(values)
        assert whole.counts == tuple(counted[value] for value in known)
        new = {value: count for value, count in counted.items() if value is not None and value not in known}
        assert (whole.nulls, whole.unseen) == (counted[None], sum(new.values()))
        assert whole.new.items() <= new.items()
        assert len(whole.new) == min(len(new), 32)
        crcs = [float(zlib.crc32(value.encode())) for value in counted if value is not None]
        assert whole.distinct == plain_sketch(hashes_of(np.array(crcs)))
        assert count_categories(column, known, bounds) == [
            count_categories(column[first:last], known, (0, last - first))[0] for first, last in pairwise(bounds)
        ]


def test_booleans_and_dates_are_counted_as_texts():
    (told,) = count_categories(pl.Series([True, None, False, True]), ("true", "false"), (0, 4))
    assert (told.counts, told.nulls, told.unseen) == ((2, 1), 1, 0)
    days = pl.Series([date(2026, 1, 1), date(2026, 1, 2), None, date(2026, 1, 1)])
    (told,) = count_categories(days, ("2026-01-01",), (0, 4))
    assert (told.counts, told.nulls, told.new) == ((2,), 1, {"2026-01-02": 1})


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=80), st.integers(1, 20))
def test_bins_are_the_quantiles_that_numpy_gives(values, bins):
    edges = freeze(pl.DataFrame({"x": values}), bins=bins).numbers["x"]
    quantiles = np.quantile(values, np.linspace(0, 1, bins + 1), method="inverted_cdf")
    just_above = math.nextafter(edges[-3], math.inf) if len(edges) > 2 else None
    assert np.unique([edge for edge in edges if edge != just_above or edge in quantiles]).tolist() == np.unique(quantiles).tolist()  # fmt: skip
    assert list(edges) == sorted(edges)
    assert len(edges) > 1


def place(value, edges):
    (alone,) = count_numbers(np.array([value]), edges, (0, 1))
    return alone.counts.index(1)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.5]), min_size=20, max_size=90), st.lists(st.floats(-9, 9)))
def test_values_that_many_rows_share_lie_in_bins_of_their_own(few, others):
    """So a flag of nought and one is seen to move, and to stand still."""
    values = few + others
    edges = freeze(pl.DataFrame({"x": values})).numbers["x"]
    heavy = {value for value in values if values.count(value) > len(values) / 20 + 1}
    assert len({place(value, edges) for value in heavy}) == len(heavy)


def test_a_rare_flag_does_not_lie_with_its_absence():
    edges = freeze(pl.DataFrame({"x": [0.0] * 98 + [1.0, 5.0]})).numbers["x"]
    assert place(0.0, edges) != place(1.0, edges) == place(5.0, edges)


def test_a_file_is_profiled_in_parts_as_its_rows_are(tmp_path):
    rng = np.random.default_rng(6)
    rows = pl.DataFrame(
        {
            "x": rng.normal(size=5_000),
            "c": rng.choice(["a", "b", "c"], 5_000),
            "text": [f"{'word ' * int(n)}{n}" for n in rng.integers(0, 400, 5_000)],
            "unused": pl.Series([b"0"] * 5_000),
        }
    )
    rows.write_parquet(tmp_path / "rows.parquet", row_group_size=700)
    binning = freeze(rows.drop("unused")[:2_000])
    scan = pl.scan_parquet(tmp_path / "rows.parquet")
    wanted = profile(rows[1_000:], binning)
    for at_once in (600, 1_500, 1 << 20):
        assert_same(profile_scan(scan.slice(1_000), binning, at_once), wanted)
    nothing = profile_scan(scan.head(0), binning)
    assert nothing.rows == 0
    assert merge(nothing, wanted) == wanted
    with pytest.raises(InvalidInput, match="no column 'c'"):
        profile_scan(scan.drop("c"), binning)


def test_a_reference_and_what_came_after_it_are_read_together(tmp_path):
    rng = np.random.default_rng(7)
    rows = pl.DataFrame(
        {
            "x": rng.normal(size=3_000),
            "c": rng.choice(["a", "b", "c"], 3_000),
            "v": pl.Series(rng.normal(size=(3_000, 2)).tolist()),
            "unused": pl.Series([b"0"] * 3_000),
        }
    )
    rows.write_parquet(tmp_path / "rows.parquet", row_group_size=700)
    scan = pl.scan_parquet(tmp_path / "rows.parquet")
    wanted = reference_profile([rows[:1_000]])
    for at_once in (700, 1 << 20):
        reference, later = profile_after(scan, 1_000, at_once)
        assert (reference.binning, reference.blocks) == (wanted.binning, ())
        assert_same(reference.profile, wanted.profile)
        assert_same(later, profile(rows[1_000:], wanted.binning))
    reference, later = profile_after(scan, 4_000)
    assert (reference.profile.rows, later.rows) == (3_000, 0)
    with pytest.raises(InvalidInput, match="no rows"):
        profile_after(scan, 0)


def assert_same(told: Profile, wanted: Profile):
    """Only sums of parts may differ, in their last digits."""
    assert (told.rows, told.categories) == (wanted.rows, wanted.categories)
    assert told.numbers.keys() == wanted.numbers.keys()
    for name, one in told.numbers.items():
        other = wanted.numbers[name]
        assert (one.nulls, one.counts, one.finite) == (other.nulls, other.counts, other.finite)
        assert (one.low, one.high, one.distinct) == (other.low, other.high, other.distinct)
        assert (one.mean, one.squares) == (pytest.approx(other.mean), pytest.approx(other.squares))
