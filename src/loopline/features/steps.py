"""Features as step functions of time, packed: between two updates every feature of an entity changes only where a row begins
or ceases to count, so a request needs one binary search per window and no arithmetic.

A packed value is 8-byte little-endian words: the horizon (microseconds; answers before it are not exact), the number of bytes
of the texts, the number of steps of each block; then per block its times (int64) and its features (float64, NaN is null, a
text is its place); then the texts, as msgpack, padded. A block is one window of a `WindowView` or one feature of a `LatestView`.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import msgspec
import numpy as np
import polars as pl

from loopline.errors import InvalidInput
from loopline.features.definitions import Aggregate, LatestView, View, WindowView, reach
from loopline.features.double_double import Floats
from loopline.features.history import Rows
from loopline.features.intervals import FOREVER, Ints, Places
from loopline.features.latest import latest_rows
from loopline.features.windows import window_values, windows
from loopline.values import MICROSECOND, from_micros

_HEAD, _WORD = 2, 8

_decode_texts = msgspec.msgpack.Decoder(dict[int, list[str]]).decode


@dataclass(frozen=True)
class Block:
    """Steps of many entities, sorted by entity code and time: from `times[i]` on, the features are `columns[...][i]`.

    With `texts` the one column holds places in it.
    """

    codes: Ints
    times: Ints
    columns: list[Floats]
    texts: list[str] | None = None

    def of(self, code: int) -> "Block":
        """The steps of one entity, with the texts that it uses."""
        low, high = np.searchsorted(self.codes, [code, code + 1])
        columns = [column[low:high] for column in self.columns]
        own = Block(self.codes[low:high], self.times[low:high], columns, self.texts)
        return own if self.texts is None else own._with_own_texts(self.texts)

    def _with_own_texts(self, texts: list[str]) -> "Block":
        (column,) = self.columns
        used, places = np.unique(column[~np.isnan(column)], return_inverse=True)
        local = np.full(len(column), np.nan)
        local[~np.isnan(column)] = places
        return Block(self.codes, self.times, [local], [texts[int(place)] for place in used])


def blocks_of(view: View, rows: Rows, horizon: int) -> list[Block]:
    """The steps from `horizon` (microseconds) on, of all entities in `rows`."""
    if isinstance(view, WindowView):
        return [_window_block(aggregates, rows, horizon) for aggregates in windows(view).values()]
    return _latest_blocks(view, rows, horizon)


def pack(blocks: Sequence[Block], code: int, horizon: int) -> bytes | None:
    """The packed value of one entity; None where it has no step."""
    own = [block.of(code) for block in blocks]
    if not any(len(block.times) for block in own):
        return None
    texts = {place: block.texts for place, block in enumerate(own) if block.texts}
    tail = msgspec.msgpack.encode(texts) if texts else b""
    head = np.array([horizon, len(tail), *(len(block.times) for block in own)])
    arrays = [head, *(array for block in own for array in (block.times, *block.columns))]
    words = [array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes() for array in arrays]
    return b"".join([*words, tail, bytes(-len(tail) % _WORD)])


class Evaluation:
    """How to read packed values of one view; made once, then used for each request."""

    def __init__(self, view: View) -> None:
        if isinstance(view, WindowView):
            self._blocks = [list(aggregates) for aggregates in windows(view).values()]
            empty = {name: 0.0 if use.op in {"count", "sum"} else None for name, use in view.features.items()}
        else:
            self._blocks = [[name] for name in view.features]
            empty = dict.fromkeys(view.features)
        self.names = [name for names in self._blocks for name in names]
        self._empty: list[list[float | str | None]] = [[empty[name] for name in names] for names in self._blocks]
        self._nothing = [value for values in self._empty for value in values]

    def __call__(self, packed: bytes | None, at: int) -> list[float | str | None]:
        """The features in the order of `names` at a moment (microseconds). Raises `InvalidInput` before the horizon."""
        if packed is None:
            return self._nothing
        words = memoryview(packed).cast("q")
        numbers = memoryview(packed).cast("d")
        if at < words[0]:
            raise _before_horizon(at, words[0])
        answer: list[float | str | None] = []
        offset = _HEAD + len(self._blocks)
        for block, empty in enumerate(self._empty):
            steps = words[_HEAD + block]
            place = bisect_right(words, at, offset, offset + steps) - 1
            if place < offset:
                answer += empty
            else:
                found = numbers[place + steps : place + steps * len(empty) + 1 : steps].tolist()
                answer += [None if isnan(value) else value for value in found]
            offset += steps * (1 + len(empty))
        if words[1]:
            _insert_texts(answer, packed[_WORD * offset : _WORD * offset + words[1]])
        return answer


def _insert_texts(answer: list[float | str | None], tail: bytes) -> None:
    for feature, texts in _decode_texts(tail).items():
        place = answer[feature]
        answer[feature] = None if place is None else texts[int(place)]


def _before_horizon(at: int, horizon: int) -> InvalidInput:
    return InvalidInput(
        "features.before_horizon",
        f"features are exact from {from_micros(horizon).isoformat()} on, not at {from_micros(at).isoformat()}",
        remedy="Ask about a later time, or use `point_in_time` over the history.",
    )


def _window_block(aggregates: dict[str, Aggregate], rows: Rows, horizon: int) -> Block:
    length = next(iter(aggregates.values())).length // MICROSECOND
    places = _changes(rows, length, horizon)
    columns = [values for _, values in window_values(aggregates, rows, places)]
    return Block(places.codes, places.times, columns)


def _latest_blocks(view: LatestView, rows: Rows, horizon: int) -> list[Block]:
    age = reach(view)
    places = _changes(rows, None if age is None else age // MICROSECOND, horizon)
    winners = latest_rows(view, rows, places)
    return [_latest_block(rows, view.features[name], places, found) for name, found in winners.items()]


def _latest_block(rows: Rows, column: str, places: Places, winners: Ints) -> Block:
    new = np.ones(len(winners), dtype=bool)
    new[1:] = (winners[1:] != winners[:-1]) | (places.codes[1:] != places.codes[:-1])
    codes, times, values = places.codes[new], places.times[new], rows.values(column, winners[new])
    if values.dtype != pl.String:
        return Block(codes, times, [values.to_numpy()])
    texts = values.drop_nulls().unique().sort()
    numbers = values.cast(pl.Enum(texts)).to_physical().cast(pl.Float64)
    return Block(codes, times, [numbers.to_numpy()], texts.to_list())


def _changes(rows: Rows, length: int | None, horizon: int) -> Places:
    """Where a row begins or ceases to count, from `horizon` on: what counts then begins there."""
    start, end = np.maximum(rows.start, horizon), rows.end(length)
    counts = start < end
    codes = np.concatenate([rows.codes[counts], rows.codes[counts]])
    times = np.concatenate([start[counts], end[counts]])
    order = np.lexsort((times, codes))
    codes, times = codes[order], times[order]
    once = times < FOREVER
    once[1:] &= (codes[1:] != codes[:-1]) | (times[1:] != times[:-1])
    return Places(codes[once], times[once])
