"""One column counted in its frozen bins, for each of several stretches of its rows: one pass over the column, then numbers only."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput
from loopline.monitoring.column_profile import KEPT_NEW, CategoryProfile, NumberProfile, kept_new
from loopline.monitoring.distinct import Hashes, hashes_of, hashes_of_texts, sketch

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
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
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()


def places_of(values: Floats, edges: Sequence[float]) -> Ints:
    """The bin of each value, (rows,): 0 below, then each bin, then above; NaN has the last place, one beyond above."""
    places = np.searchsorted(np.array(edges), values, side="right")
    places[values == edges[-1]] = len(edges) - 1
    places[np.isnan(values)] = len(edges) + 1
    return places


def count_numbers(
    values: Floats, edges: Sequence[float], bounds: Sequence[int]
) -> tuple[list[NumberProfile], Places]:
    """The profile of each stretch, rows from one bound up to the next, and the place of each row."""
    places, hashes = places_of(values, edges), hashes_of(values)
    cuts = [(int(first), int(last)) for first, last in pairwise(bounds)]
    told = [_number(values[first:last], places[first:last], hashes[first:last], len(edges) + 1) for first, last in cuts]
    return told, places.astype(np.uint8)


def _number(values: Floats, places: Ints, hashes: Hashes, bins: int) -> NumberProfile:
    counts = np.bincount(places, minlength=bins + 1)
    nulls = int(counts[bins])
    whole = not nulls and bool(np.isfinite(values).all())
    finite = values if whole else values[np.isfinite(values)]
    some = len(finite) > 0
    mean = float(finite.mean()) if some else None
    return NumberProfile(
        nulls=nulls,
        counts=tuple(counts[:bins].tolist()),
        finite=len(finite),
        mean=mean,
        squares=float(np.square(finite - mean).sum()) if mean is not None else 0.0,
        low=float(finite.min()) if some else None,
        high=float(finite.max()) if some else None,
        distinct=sketch(hashes if not nulls else hashes[~np.isnan(values)]),
    )


def count_categories(
    column: pl.Series, known: Sequence[str], bounds: Sequence[int]
) -> tuple[list[CategoryProfile], Places]:
    """The profile of each stretch of a column of texts, booleans or categories, and the place of each row."""
    text = column.cast(pl.String)
    distinct = text.drop_nulls().unique(maintain_order=True).to_list()
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
    places = pl.DataFrame({"value": distinct, "place": range(len(distinct))}, {"value": pl.String, "place": pl.Int64})
    joined = text.alias("value").to_frame().join(places, on="value", how="left", maintain_order="left")
    return joined["place"].fill_null(-1).to_numpy()


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
