"""One column counted in its frozen bins, for each of several stretches of its rows: one pass over the column, then numbers only."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput
from loopline.monitoring.column_profile import KEPT_NEW, CategoryProfile, NumberProfile, kept_new
from loopline.monitoring.distinct import Hashes, Registers, hashes_of, hashes_of_texts, sketch

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]
Places = npt.NDArray[np.uint8]
"""Where each row counts: the bin of a number with below and above, the known value of a category with unseen; null has the last place."""

_MANY = 4096
_AT_ONCE = 1 << 15


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


def count_numbers(values: Floats, edges: Sequence[float], bounds: Sequence[int]) -> tuple[list[NumberProfile], Places]:
    """The profile of each stretch, rows from one bound up to the next, and the place of each row."""
    places = np.empty(len(values), dtype=np.uint8)
    told = [_number(values, places, edges, int(first), int(last)) for first, last in pairwise(bounds)]
    return told, places


def _number(values: Floats, places: Places, edges: Sequence[float], first: int, last: int) -> NumberProfile:
    """In pieces that stay in the processor's cache."""
    bins = len(edges) + 1
    counts, registers = np.zeros(bins + 1, dtype=np.int64), Registers()
    sums: list[tuple[int, float, float, float, float]] = []
    for begin in range(first, last, _AT_ONCE):
        piece = slice(begin, min(begin + _AT_ONCE, last))
        x, place = values[piece], places[piece]
        _place(x, edges, place)
        counts += np.bincount(place, minlength=bins + 1)
        with np.errstate(invalid="ignore"):
            whole = math.isfinite(float(x.sum()))
        if whole:
            sums.append(_moments(x))
            registers.add(hashes_of(x))
        else:
            finite = x[np.isfinite(x)]
            sums += [_moments(finite)] if len(finite) else []
            registers.add(hashes_of(x[~np.isnan(x)]))
    finite_rows, mean, squares, low, high = _together(sums)
    return NumberProfile(
        nulls=int(counts[bins]),
        counts=tuple(counts[:bins].tolist()),
        finite=finite_rows,
        mean=mean if finite_rows else None,
        squares=squares,
        low=low if finite_rows else None,
        high=high if finite_rows else None,
        distinct=registers.sketch(),
    )


def _place(x: Floats, edges: Sequence[float], out: Places) -> None:
    """The bin of each value: 0 below, then each bin, then above; NaN has the last place, one beyond above.

    To compare with every edge beats a search where there are a few dozen: no branch is taken.
    """
    out[:] = 0
    for edge in edges:
        out += x >= edge
    out -= x == edges[-1]
    missing = np.isnan(x)
    if missing.any():
        out[missing] = len(edges) + 1


def _moments(x: Floats) -> tuple[int, float, float, float, float]:
    """Rows, mean, sum of squared distances from it, least and most."""
    mean = float(x.mean())
    apart = x - mean
    return len(x), mean, float(apart @ apart), float(x.min()), float(x.max())


def _together(sums: Sequence[tuple[int, float, float, float, float]]) -> tuple[int, float, float, float, float]:
    """Of all pieces, by Chan, Golub and LeVeque's update."""
    rows, mean, squares, low, high = 0, 0.0, 0.0, math.inf, -math.inf
    for count, middle, own, least, most in sums:
        gap, both = middle - mean, rows + count
        mean += gap * count / both
        squares += own + gap * gap * rows * count / both
        rows, low, high = both, min(low, least), max(high, most)
    return rows, mean, squares, low, high


def count_categories(
    column: pl.Series, known: Sequence[str], bounds: Sequence[int]
) -> tuple[list[CategoryProfile], Places]:
    """The profile of each stretch of a column of texts, booleans or categories, and the place of each row."""
    text = column.cast(pl.String)
    distinct = text.unique().drop_nulls().to_list()
    codes = _codes(text, distinct)
    hashes = hashes_of_texts(distinct)
    index = {value: place for place, value in enumerate(distinct)}
    order = np.array([index.get(value, -1) for value in known], dtype=np.int64)
    place_of = np.full(len(distinct) + 1, len(known), dtype=np.uint8)
    place_of[order[order >= 0]] = np.flatnonzero(order >= 0)
    place_of[-1] = len(known) + 1
    is_known = place_of[:-1] < len(known)
    cuts = [(int(first), int(last)) for first, last in pairwise(bounds)]
    told = [_category(codes[first:last], distinct, hashes, order, is_known) for first, last in cuts]
    return told, place_of[codes]


def _codes(text: pl.Series, distinct: Sequence[str]) -> Ints:
    """The place of each row's value among `distinct`, -1 for a null."""
    return text.cast(pl.Enum(distinct)).to_physical().cast(pl.Int32).fill_null(-1).to_numpy()


def _category(
    codes: Ints, distinct: Sequence[str], hashes: Hashes, order: Ints, is_known: npt.NDArray[np.bool_]
) -> CategoryProfile:
    given = codes[codes >= 0]
    if len(distinct) <= _MANY:
        all_counts = np.bincount(given, minlength=len(distinct))
        seen = np.flatnonzero(all_counts)
        counts = all_counts[seen]
    else:
        seen, counts = np.unique(given, return_counts=True)
    by_code = dict(zip(seen.tolist(), counts.tolist(), strict=True))
    unknown = ~is_known[seen]
    return CategoryProfile(
        nulls=len(codes) - len(given),
        counts=tuple(by_code.get(place, 0) for place in order.tolist()),
        unseen=int(counts[unknown].sum()),
        new=_few({distinct[code]: int(count) for code, count in zip(seen[unknown], counts[unknown], strict=True)}),
        distinct=sketch(hashes[seen]),
    )


def _few(new: dict[str, int]) -> dict[str, int]:
    return new if len(new) <= KEPT_NEW else {name: new[name] for name in kept_new(list(new))}
