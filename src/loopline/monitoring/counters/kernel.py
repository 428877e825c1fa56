"""The library in C, loaded by ctypes; while it counts other threads run."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline import native
from loopline.monitoring.distinct import REGISTERS

Floats = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]

PIECE = 1 << 15
"""Rows that are looked at together; moments are of each such piece."""
_MOMENTS = 5
_MOST = 512
_POINTER, _LONG, _INT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
_STREAM = b"arrow_array_stream"


@dataclass(frozen=True)
class CountedNumbers:
    """Of each stretch: how many are NaN (stretches,), how many reach each edge (stretches, edges), the sketch (stretches, 256).

    `moments` (pieces, 5) are those of each piece, one stretch after the other: rows, mean, sum of squared distances from it, least, most.
    """

    nulls: Longs
    passed: Longs
    registers: Bytes
    moments: Floats


@dataclass(frozen=True)
class CountedTexts:
    """How often each of the `distinct` texts is there (distinct,); `codes` (rows,) are their places, -1 for a null."""

    distinct: list[str]
    counts: Longs
    nulls: int
    codes: Codes | None


def numbers_counted(
    values: Floats, edges: Sequence[float], bounds: Sequence[int], places: Bytes | None
) -> CountedNumbers | None:
    """Stretches of a column of numbers, where each bin begins with one of the `edges`; None where the library was not built."""
    count = _function("loopline_numbers", _INT, (_POINTER, _POINTER, _LONG, _POINTER, _LONG, *[_POINTER] * 5))
    if count is None or (places is not None and not _taken(places, len(values))):
        return None
    x, firsts, ends = np.ascontiguousarray(values, dtype=np.float64), np.array(edges), np.array(bounds, dtype=np.int64)
    lengths = np.diff(ends)
    found = CountedNumbers(
        nulls=np.zeros(len(lengths), dtype=np.int64),
        passed=np.zeros((len(lengths), len(firsts)), dtype=np.int64),
        registers=np.zeros((len(lengths), REGISTERS), dtype=np.uint8),
        moments=np.empty((int((-(-lengths // PIECE)).sum()), _MOMENTS)),
    )
    room = (found.nulls, found.passed, found.registers, found.moments, places)
    given = (_address(x), _address(ends), len(lengths), _address(firsts), len(firsts))
    if not count(*given, *(_address(one) for one in room)):
        raise MemoryError
    return found


def texts_counted(column: pl.Series, *, coded: bool) -> CountedTexts | None:
    """A column of texts with few values; None where there are many, and where the library was not built."""
    count = _function("loopline_texts", _INT, (_POINTER, _LONG, *[_POINTER] * 4))
    if count is None or column.dtype != pl.String:
        return None
    column = column.rechunk()
    firsts, counts = np.empty(_MOST, dtype=np.int64), np.empty(_MOST, dtype=np.int64)
    nulls = np.zeros(1, dtype=np.int64)
    codes = np.empty(len(column), dtype=np.int32) if coded else None
    # The capsule owns the stream, and lets it go when it goes.
    capsule = column.__arrow_c_stream__()
    many = count(_pointer(capsule, _STREAM), len(column), *(_address(one) for one in (firsts, counts, nulls, codes)))
    if many < 0:
        return None
    distinct = [column[place] for place in firsts[:many].tolist()]
    if len(set(distinct)) < many:  # views that are not filled with zeros, as Arrow has them
        return None
    return CountedTexts(distinct, counts[:many], int(nulls[0]), codes)


def _taken(places: npt.NDArray[Any], rows: int) -> bool:
    return bool(places.flags.c_contiguous) and places.dtype == np.uint8 and len(places) == rows


def _address(array: npt.NDArray[Any] | None) -> int | None:
    return None if array is None else int(array.__array_interface__["data"][0])


@cache
def _function(name: str, gives: Any, takes: tuple[Any, ...]) -> Any:
    library = native.loaded(native.COUNTERS)
    if library is None:
        return None
    found = library[name]
    found.restype, found.argtypes = gives, takes
    return found


_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = _POINTER, (ctypes.py_object, ctypes.c_char_p)
