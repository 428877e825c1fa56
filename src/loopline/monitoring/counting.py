"""One column counted in its frozen bins, for each of several stretches of its rows: one pass over the column, then numbers only."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput
from loopline.monitoring.column_profile import KEPT_NEW, CategoryProfile, NumberProfile, kept_new
from loopline.monitoring.counters.kernel import PIECE, numbers_counted, texts_counted
from loopline.monitoring.distinct import Hashes, Registers, hashes_of, hashes_of_texts, sketch

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]
Places = npt.NDArray[np.uint8]
"""Where each row counts: the bin of a number with below and above, the known value of a category with unseen; null has the last place."""

_MANY = 4096


def floats_of(column: pl.Series) -> Floats:
    """The numbers of a column, NaN where it is null. Raises `InvalidInput` for a column of another kind."""
    if not (column.dtype.is_numeric() or column.dtype == pl.Null):
        raise InvalidInput(
            "profile.other_kind",
            f"column {column.name!r} was numeric and is {column.dtype} now",
            remedy="Cast it first.",
        )
    numbers = column.cast(pl.Float64)
    return (numbers.fill_null(np.nan) if numbers.null_count() else numbers).to_numpy()


def count_numbers(
    values: Floats, edges: Sequence[float], bounds: Sequence[int], places: Places | None = None
) -> list[NumberProfile]:
    """The profile of each stretch, rows from one bound up to the next; `places` (rows,), where given, takes the place of each row."""
    # The last bin is closed: what is above it begins with the next number.
    firsts = [*edges[:-1], math.nextafter(edges[-1], math.inf)]
    ends = [min(max(int(bound), 0), len(values)) for bound in bounds]
    cuts = [slice(first, last) for first, last in pairwise(ends)]
    counted = numbers_counted(values, firsts, ends, places)
    if counted is None:
        counter = _Numbers(firsts)
        return [counter.count(values[cut], None if places is None else places[cut]) for cut in cuts]
    moments = iter(counted.moments.tolist())
    return [
        _number(cut.stop - cut.start, nulls, passed, _pieces(cut, moments), registers.tobytes())
        for cut, nulls, passed, registers in zip(
            cuts, counted.nulls.tolist(), counted.passed.tolist(), counted.registers, strict=True
        )
    ]


def _pieces(cut: slice, moments: Iterator[Sequence[float]]) -> "list[Moments]":
    """Those of one stretch, without the pieces that no number is in."""
    own = islice(moments, -(-(cut.stop - cut.start) // PIECE))
    return [(int(rows), mean, squares, low, high) for rows, mean, squares, low, high in own if rows]


class _Numbers:
    """Counts numbers in pieces that stay in the processor's cache, in memory that is used again."""

    def __init__(self, firsts: Sequence[float]) -> None:
        self._firsts = firsts
        self._mask = np.empty(PIECE, dtype=np.bool_)
        self._apart = np.empty(PIECE, dtype=np.float64)
        self._hashes = np.empty((2, PIECE), dtype=np.uint64)

    def count(self, values: Floats, places: Places | None) -> NumberProfile:
        """The profile of these; `places` takes the place of each."""
        registers, nulls = Registers(), 0
        passed = [0] * len(self._firsts)
        sums: list[Moments] = []
        for begin in range(0, len(values), PIECE):
            x = values[begin : begin + PIECE]
            known, finite, total = _split(x)
            nulls += len(x) - len(known)
            sums += [self._moments(finite, total)] if len(finite) else []
            low, high = sums[-1][3:] if len(finite) == len(known) > 0 else (-math.inf, math.inf)
            place = None if places is None else places[begin : begin + PIECE]
            self._pass(x, len(known), low, high, passed, place)
            registers.add(hashes_of(known, self._hashes))
        return _number(len(values), nulls, passed, sums, registers.sketch())

    def _pass(self, x: Floats, known: int, low: float, high: float, passed: list[int], out: Places | None) -> None:
        """Add how many reach each edge; `known` of them are not NaN, and lie from `low` to `high`. NaN reaches none, and has the last place.

        To compare with every edge between beats a search where there are a few dozen: no branch is taken.
        """
        mask = self._mask[: len(x)]
        first, last = bisect_right(self._firsts, low), bisect_right(self._firsts, high)
        passed[:first] = [count + known for count in passed[:first]]
        if out is not None:
            out[:] = first
        for place in range(first, last):
            np.greater_equal(x, self._firsts[place], out=mask)
            passed[place] += int(np.count_nonzero(mask))
            if out is not None:
                out += mask.view(np.uint8)
        if out is not None and known < len(x):
            out[np.isnan(x, out=mask)] = len(self._firsts) + 1

    def _moments(self, x: Floats, total: float) -> "Moments":
        mean = total / len(x)
        apart = np.subtract(x, mean, out=self._apart[: len(x)])
        # Not `apart @ apart` or an einsum: their order of additions, so the last digits, depend on threads and on the processor.
        with np.errstate(over="ignore"):
            squares = float(np.square(apart, out=apart).sum())
        return len(x), mean, squares, float(x.min()), float(x.max())


def _split(x: Floats) -> tuple[Floats, Floats, float]:
    """Those that are not NaN, those of them that are finite, and their sum; where all are, no copy is made."""
    with np.errstate(invalid="ignore"):
        total = float(x.sum())
        if math.isfinite(total):
            return x, x, total
        known = x[~np.isnan(x)]
        total = float(known.sum())
    finite = known if math.isfinite(total) else known[np.isfinite(known)]
    return known, finite, total if finite is known else float(finite.sum())


Moments = tuple[int, float, float, float, float]
"""Rows, mean, sum of squared distances from it, least and most."""


def _number(rows: int, nulls: int, passed: Sequence[int], sums: Sequence[Moments], distinct: bytes) -> NumberProfile:
    """From how many passed each edge: what passed one and not the next is between them."""
    finite_rows, mean, squares, low, high = _together(sums)
    return NumberProfile(
        nulls=nulls,
        counts=tuple(before - after for before, after in pairwise([rows - nulls, *passed, 0])),
        finite=finite_rows,
        mean=mean if finite_rows else None,
        squares=squares,
        low=low + 0.0 if finite_rows else None,  # of both zeros, whichever came first
        high=high + 0.0 if finite_rows else None,
        distinct=distinct,
    )


def _together(sums: Sequence[Moments]) -> Moments:
    """Of all pieces, by Chan, Golub and LeVeque's update."""
    rows, mean, squares, low, high = 0, 0.0, 0.0, math.inf, -math.inf
    for count, middle, own, least, most in sums:
        gap, both = middle - mean, rows + count
        mean += gap * count / both
        squares += own + gap * gap * rows * count / both
        rows, low, high = both, min(low, least), max(high, most)
    return rows, mean, squares, low, high


def count_categories(
    column: pl.Series, known: Sequence[str], bounds: Sequence[int], places: Places | None = None
) -> list[CategoryProfile]:
    """The profile of each stretch of a column of texts, booleans or categories; `places` as in `count_numbers`."""
    cuts = [slice(int(first), int(last)) for first, last in pairwise(bounds)]
    if places is None and len(cuts) == 1:
        tally, nulls = tally_of(column[cuts[0]])
        return [_profiled(nulls, tally, sketch(hashes_of_texts(list(tally))), known)]
    distinct, codes = _coded(column.cast(pl.String))
    hashes = hashes_of_texts(distinct)
    if places is not None:
        index = {value: place for place, value in enumerate(known)}
        place_of = [index.get(value, len(known)) for value in distinct]
        places[:] = np.array([*place_of, len(known) + 1], dtype=np.uint8)[codes]
    return [_category(codes[cut], distinct, hashes, known) for cut in cuts]


def tally_of(column: pl.Series) -> tuple[dict[str, int], int]:
    """How often each value is there, as text, and how many are null."""
    counted = texts_counted(column, coded=False)
    if counted is not None:
        return dict(zip(counted.distinct, counted.counts.tolist(), strict=True)), counted.nulls
    few = column.dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)
    values = (column if few else column.cast(pl.String)).alias("value").value_counts(name="rows")
    tally = dict(zip(values["value"].cast(pl.String).to_list(), values["rows"].to_list(), strict=True))
    nulls = tally.pop(None, 0)
    return tally, nulls


def _coded(text: pl.Series) -> tuple[list[str], Ints]:
    """The different values, and the place of each row's among them, -1 for a null."""
    counted = texts_counted(text, coded=True)
    if counted is not None and counted.codes is not None:
        return counted.distinct, counted.codes
    distinct = text.unique().drop_nulls().to_list()
    return distinct, text.cast(pl.Enum(distinct)).to_physical().cast(pl.Int32).fill_null(-1).to_numpy()


def _category(codes: Ints, distinct: Sequence[str], hashes: Hashes, known: Sequence[str]) -> CategoryProfile:
    given = codes[codes >= 0]
    if len(distinct) <= _MANY:
        all_counts = np.bincount(given, minlength=len(distinct))
        seen = np.flatnonzero(all_counts)
        counts = all_counts[seen]
    else:
        seen, counts = np.unique(given, return_counts=True)
    tally = {distinct[code]: count for code, count in zip(seen.tolist(), counts.tolist(), strict=True)}
    return _profiled(len(codes) - len(given), tally, sketch(hashes[seen]), known)


def _profiled(nulls: int, tally: dict[str, int], distinct: bytes, known: Sequence[str]) -> CategoryProfile:
    """From the rows of each value that is there."""
    counts = tuple(tally.pop(value, 0) for value in known)
    new = tally if len(tally) <= KEPT_NEW else {name: tally[name] for name in kept_new(list(tally))}
    return CategoryProfile(nulls=nulls, counts=counts, unseen=sum(tally.values()), new=new, distinct=distinct)
