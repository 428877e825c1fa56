"""Rows are put in the order of time, however many there are and however the files are sorted."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.app.study.shelf import Shelf

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_LOOKED_AT = 100_000


def order_of(at: Ints, left_out: Mask | None, never: int, shelf: Shelf, *, timed: bool) -> tuple[Ints, int]:
    """The places of the rows in the order of time, those of one time as in the file, and how many rows have no time (`never`).

    Such rows and those that are `left_out` are not among them. Where the file is not sorted, one stretch of time after the other is looked for in
    all of it: about as many rows as are read at once.
    """
    timeless, risen, last = 0, True, never
    for part in shelf.parts(len(at)):
        moments = at[part]
        timeless += int((moments == never).sum())
        kept = moments[_kept(moments, left_out, never, part)]
        risen = risen and (not len(kept) or bool(kept[0] >= last and (np.diff(kept) >= 0).all()))
        last = int(kept[-1]) if len(kept) else last
    pieces = _risen(at, left_out, never, shelf) if risen or not timed else _sorted(at, left_out, never, shelf)
    [order] = shelf.keep(pieces)
    return order, timeless


def _kept(moments: Ints, left_out: Mask | None, never: int, part: slice) -> Mask:
    kept: Mask = moments != never
    return kept if left_out is None else kept & ~left_out[part]


def _risen(at: Ints, left_out: Mask | None, never: int, shelf: Shelf) -> Iterator[list[Ints]]:
    for part in shelf.parts(len(at)):
        yield [np.flatnonzero(_kept(at[part], left_out, never, part)) + part.start]


def _sorted(at: Ints, left_out: Mask | None, never: int, shelf: Shelf) -> Iterator[list[Ints]]:
    edges = _edges(at, never, shelf)
    for low, high in zip([None, *edges], [*edges, None], strict=True):
        places, moments = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        for part in shelf.parts(len(at)):
            some = at[part]
            inside = _kept(some, left_out, never, part)
            inside &= (some >= low) if low is not None else True
            inside &= (some < high) if high is not None else True
            where = np.flatnonzero(inside)
            places.append(where + part.start)
            moments.append(some[where])
        yield [np.concatenate(places)[np.argsort(np.concatenate(moments), kind="stable")]]


def _edges(at: Ints, never: int, shelf: Shelf) -> list[int]:
    """Moments between which about as many rows lie as are read at once."""
    step = max(1, len(at) // _LOOKED_AT)
    some = np.sort(np.concatenate([at[part][::step] for part in shelf.parts(len(at))]))
    some = some[some != never]
    wanted = -(-len(at) // shelf.part)
    places = (np.arange(1, wanted) * (len(some) / wanted)).astype(np.int64)
    return sorted({int(some[place]) for place in places}) if len(some) else []


def in_order(columns: Mapping[str, Array | None], order: Ints, shelf: Shelf) -> dict[str, Any]:
    """The columns (file's rows,) in that order; those that are None stay so."""
    given = {name: column for name, column in columns.items() if column is not None}
    if len(order) == len(next(iter(given.values()))) and _as_they_are(order, shelf):
        return dict(columns)
    if not len(order):
        return {name: None if column is None else column[:0] for name, column in columns.items()}
    kept = shelf.keep(
        [_picked(column, order[part], shelf) for column in given.values()] for part in shelf.parts(len(order))
    )
    return dict.fromkeys(columns) | dict(zip(given, kept, strict=True))


def _as_they_are(order: Ints, shelf: Shelf) -> bool:
    return all(bool((order[part] == np.arange(part.start, part.stop)).all()) for part in shelf.parts(len(order)))


def _picked(column: Array, places: Ints, shelf: Shelf) -> Array:
    if (np.diff(places) > 0).all():
        return shelf.taken(column, places)
    rising = np.argsort(places)
    found = np.empty((len(places), *column.shape[1:]), dtype=column.dtype)
    found[rising] = shelf.taken(column, places[rising])
    return found
