"""Rows that try the trees where a kernel could be wrong, and the comparison with ONNX Runtime bit for bit."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.models.runtimes.forest.shape import NotTaken, Shape, require

Rows = npt.NDArray[np.float32]
Score = Callable[[Rows], Any]

_FEWEST, _MOST = 64, 256  # rows
_STEPS = 200_000  # down the trees, of all rows: a few milliseconds of ONNX Runtime
_PLAIN = 100  # rows
_NUMBERS = 1 << 20  # in all rows
_SIZES = (1, 2, 7, 33)
_MISSING, _ODD = 0.15, 0.02
_SEED = 20_261_129


def trial_rows(shape: Shape, fields: int) -> Rows:
    """Rows (n, fields) made of the thresholds themselves, and of their neighbours on both sides; some values are missing or infinite.

    Half of the rows are led to a split by what the splits above it ask for, and have its very threshold there or the next number
    above. There are fewer of them for many trees; the same trees get the same rows.
    """
    depth = np.log2(shape.leaves[shape.roots] + 1).sum() * 1.5
    count = int(min(max(_STEPS / max(depth, 1), _FEWEST), _MOST, max(_NUMBERS // max(fields, 1), 4)))
    rng = np.random.default_rng(_SEED)
    splits = np.flatnonzero(~shape.leaf)
    rows = _mixed(shape, splits, rng, (count, fields))
    if len(splits):
        led = rng.choice(splits, size=count // 4, replace=len(splits) < count // 4)
        _lead(shape, led, rows[: len(led)])
        rows[len(led) : 2 * len(led)] = rows[: len(led)]
        every = np.arange(len(led))
        rows[every, shape.field[led]] = shape.threshold[led]
        rows[every + len(led), shape.field[led]] = _next(shape.threshold[led], np.inf)
    return rows


def plain_rows(fields: int | None, *, missing: bool) -> Rows:
    """Rows (100, fields) of small whole numbers, a few of them missing where that can be. Gives up with `NotTaken` where `fields` is not known."""
    if fields is None:
        raise NotTaken("rows of unknown width")
    rng = np.random.default_rng(_SEED)
    rows: Rows = np.round(3 * rng.normal(size=(_PLAIN, fields))).astype(np.float32)
    if missing:
        rows[rng.random(rows.shape) < _ODD] = np.nan
    return rows


def require_same(score: Score, reference: Score, rows: Rows, sizes: Sequence[int] = _SIZES) -> None:
    """Gives up with `NotTaken` where the two differ in one bit for one of `rows`, alone or in company. Both give arrays, or anything else
    that can be compared, in a list.
    """
    for size in (*sizes, len(rows)):
        some = rows[:size] if size % 2 else rows[-size:]
        for found, wanted in zip(score(some), reference(some), strict=True):
            require(_same(found, wanted), "the numbers differ")


def one_by_one(score: Score) -> Score:
    """The same, asked for each row alone: then other instructions run."""

    def scores(rows: Rows) -> list[Any]:
        parts = [score(rows[place : place + 1]) for place in range(len(rows))]
        return [np.concatenate(columns) for columns in zip(*parts, strict=True)]

    return scores


def _same(found: Any, wanted: Any) -> bool:
    if not isinstance(wanted, np.ndarray):
        return bool(found == wanted)
    alike = isinstance(found, np.ndarray) and found.dtype == wanted.dtype and found.shape == wanted.shape
    return alike and found.tobytes() == wanted.tobytes()


def _mixed(shape: Shape, splits: npt.NDArray[np.intp], rng: np.random.Generator, size: tuple[int, int]) -> Rows:
    """Of each field a random threshold, or a number beside it."""
    rows: Rows = rng.normal(size=size).astype(np.float32)
    order = splits[np.argsort(shape.field[splits], kind="stable")]
    fields, begins, counts = np.unique(shape.field[order], return_index=True, return_counts=True)
    drawn = begins + (rng.random((size[0], len(fields))) * counts).astype(np.int64)
    rows[:, fields] = shape.threshold[order[drawn]]
    beside = rng.integers(-1, 2, size=size)
    rows = np.where(beside < 0, _next(rows, -np.inf), np.where(beside > 0, _next(rows, np.inf), rows))
    rows[rng.random(size) < _ODD] = np.inf
    rows[rng.random(size) < _ODD] = -np.inf
    rows[rng.random(size) < _ODD] = -0.0
    last = size[0] - size[0] // 4  # without a missing value other instructions run
    rows[last:][rng.random((size[0] - last, size[1])) < _MISSING] = np.nan
    return rows


def _lead(shape: Shape, led: npt.NDArray[np.intp], rows: Rows) -> None:
    """Change `rows` so that row i gets to the split `led[i]`, where one can."""
    parent = np.full(len(shape.leaf), -1)
    inner = np.flatnonzero(~shape.leaf)
    parent[shape.left[inner]] = parent[shape.right[inner]] = inner
    low = np.full(rows.shape, -np.inf, dtype=np.float32)
    high = np.full(rows.shape, np.inf, dtype=np.float32)
    here, row = led, np.arange(len(led))
    while len(here):
        above = parent[here]
        here, row, above = here[above >= 0], row[above >= 0], above[above >= 0]
        field, threshold = shape.field[above], shape.threshold[above]
        went_left = shape.left[above] == here
        high[row, field] = np.where(went_left, np.minimum(high[row, field], threshold), high[row, field])
        low[row, field] = np.where(went_left, low[row, field], np.maximum(low[row, field], threshold))
        here = above
    asked = (np.isfinite(low) | np.isfinite(high)) & ~((low < rows) & (rows <= high))
    rows[asked] = np.where(np.isfinite(high), high, _next(low, np.inf))[asked]


def _next(values: Rows, towards: float) -> Rows:
    with np.errstate(all="ignore"):  # beyond the largest number, and next to 0
        return np.nextafter(values, np.float32(towards))
