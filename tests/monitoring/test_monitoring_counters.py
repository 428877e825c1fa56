"""The library in C counts as numpy and polars do: the same profiles to the last bit, whatever is in the columns."""

import ctypes
import math
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline import native
from loopline.monitoring import counting
from loopline.monitoring.counters import kernel
from loopline.monitoring.counting import count_categories, count_numbers, tally_of

pytestmark = pytest.mark.skipif(native.loaded(native.COUNTERS) is None, reason="without a C compiler there is none")

EDGES = (-1.0, 0.0, 0.5, 0.5000000000000001, 2.0, 3.0)
SPECIAL = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e308, -1e308, 5e-324, *EDGES, math.nextafter(3.0, 4)]
PIECE = kernel.PIECE


def column_of(seed: int, length: int, share: float) -> np.ndarray:
    """Random numbers, of which a share are special ones."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(length) < share, rng.choice(SPECIAL, length), rng.normal(1, 1, length))


def both_ways(values, bounds, edges=EDGES):
    """What the library gives and what numpy gives, as text with every digit and every sign; and the places of both."""
    places = [np.full(len(values), 77, dtype=np.uint8) for _ in range(2)]
    with np.errstate(all="ignore"):
        told = [count_numbers(values, edges, bounds, places[0]), count_numbers(values, edges, bounds)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(counting, "numbers_counted", lambda *_: None)
            told.append(count_numbers(values, edges, bounds, places[1]))
    return [repr(one) for one in told], [one.tolist() for one in places]


def assert_both_the_same(values, bounds, edges=EDGES):
    (told, without_places, numpy), places = both_ways(values, bounds, edges)
    assert told == without_places == numpy
    assert places[0] == places[1]


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 2**32),
    st.integers(0, 700),
    st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    st.lists(st.integers(0, 800), max_size=3),
)
def test_numbers_are_counted_to_the_bit_as_numpy_counts_them(seed, length, share, cuts):
    assert_both_the_same(column_of(seed, length, share), [*sorted([0, *cuts]), length])


@settings(deadline=None)
@given(st.lists(st.sampled_from(SPECIAL) | st.floats(), max_size=40))
def test_so_are_whatever_numbers(values):
    assert_both_the_same(np.array(values, dtype=np.float64), (0, len(values) // 3, len(values)))


@pytest.mark.parametrize("length", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 130])
@pytest.mark.parametrize("share", [0.0, 0.001])
def test_so_are_pieces(length, share):
    x = column_of(length, length, share)
    assert_both_the_same(x, (0, length))
    assert_both_the_same(np.sort(x), (0, PIECE // 2, length))


def test_rows_need_not_lie_one_after_the_other_and_may_be_none():
    x = column_of(1, 5_000, 0.1)
    for values in (x[::3], x[::-1], np.asfortranarray(x.reshape(50, 100))[:, 7], x[:0], x.astype(">f8")):
        assert_both_the_same(values, (0, 0, len(values) // 2, len(values), len(values)))
    one_apart = np.empty((100, 2), dtype=np.uint8)[:, 0]
    count_numbers(x[:100], EDGES, (0, 100), one_apart)
    assert one_apart.tolist() == both_ways(x[:100], (0, 100))[1][1]
    beyond, within = (count_numbers(x[:100], EDGES, (0, 100, last)) for last in (200, 100))
    assert repr(beyond) == repr(within)
    with pytest.raises(ValueError, match="operand"):
        count_numbers(x[:100], EDGES, (0, 100), np.empty(99, dtype=np.uint8))


def test_so_are_many_and_few_bins():
    x = column_of(2, 3_000, 0.1)
    for edges in ((0.0, 0.0), tuple(np.linspace(-2, 4, 201)), (-math.inf, 0.0, math.inf)):
        assert_both_the_same(x, (0, 3_000), edges)


def has_avx2() -> bool:
    flags = Path("/proc/cpuinfo")
    return flags.exists() and "avx2" in flags.read_text()


@pytest.mark.parametrize(
    "flag",
    [
        "-DLOOPLINE_NARROW",
        pytest.param(
            "-D__builtin_cpu_supports(what)=((what)[3]=='2')",
            marks=pytest.mark.skipif(not has_avx2(), reason="this processor has no such registers"),
        ),
    ],
)
def test_registers_of_other_widths_give_the_same_bits(flag, tmp_path, monkeypatch):
    other = tmp_path / "other.so"
    source = native.COUNTERS.source
    subprocess.run(["cc", *native.FLAGS, "-O1", flag, str(source), "-o", str(other), "-lm"], check=True)
    kernel._function.cache_clear()
    monkeypatch.setattr(native, "loaded", lambda _: ctypes.CDLL(str(other)))
    for length in (*range(40), 300, PIECE + 77):
        for share in (0.0, 0.2):
            assert_both_the_same(column_of(length, length, share), (0, length))
    kernel._function.cache_clear()


LONG = ["", "a", "twelve bytes", "thirteen byte", "thirteen bytf", "ä" * 20, "a" * 500]


def columns_of(values: list[str | None]) -> list[pl.Series]:
    """The same column whole, as a part of a longer one, in chunks, and with every long text in a place of its own."""
    whole = pl.Series(values, dtype=pl.String)
    apart = pl.Series([None if value is None else value + "!" for value in values], dtype=pl.String).str.head(-1)
    middle = len(values) // 2
    return [
        whole,
        pl.concat([pl.Series(["b", None, "c"]), whole, pl.Series(["d"])], rechunk=True)[3:-1],
        pl.concat([whole[:middle], whole[middle:]], rechunk=False),
        apart,
    ]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.none() | st.sampled_from(LONG) | st.text(max_size=20), max_size=40))
def test_texts_are_counted_as_polars_counts_them(values):
    known, bounds = ("a", "twelve bytes"), (0, len(values) // 3, len(values))
    for column in columns_of(values):
        assert column.to_list() == values
        told = [tally_of(column), _counted(column, known, bounds)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(counting, "texts_counted", lambda *_, **__: None)
            assert told == [tally_of(column), _counted(column, known, bounds)]


def _counted(column, known, bounds):
    places = np.empty(len(column), dtype=np.uint8)
    return count_categories(column, known, bounds, places), places.tolist()


def test_many_different_texts_are_left_to_polars():
    for many, taken in ((512, True), (513, False)):
        column = pl.Series([f"value {number}" for number in range(many)] * 2)
        assert (kernel.texts_counted(column, coded=False) is not None) is taken
        assert tally_of(column) == ({f"value {number}": 2 for number in range(many)}, 0)
    assert kernel.texts_counted(pl.Series([True]), coded=False) is None
    assert kernel.texts_counted(pl.Series(["a"], dtype=pl.Categorical), coded=True) is None
