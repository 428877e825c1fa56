"""Blocks as rows of their table. What their rows share, and what none of them has, is not written out row by row."""

from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.scoring.block import ABSENT, DIVIDER, FLOAT, INT, LISTED, Block, Origin, divided, joined
from loopline.scoring.record import COLUMNS, FEATURE_PREFIX, TIME, code_lists
from loopline.values import micros

_NO_CODES: list[str] = []
_PLACE = "_place"


def prediction_frame(blocks: Sequence[Block]) -> pl.DataFrame:
    """The predictions as rows of their table, in order; a feature that only some of them have is null in the others."""
    frames = frames_by_maker(blocks)
    return frames[0] if len(frames) == 1 else in_order(frames, blocks)


def frames_by_maker(blocks: Sequence[Block]) -> list[pl.DataFrame]:
    """The rows of each maker's blocks, in order; one frame without rows where there are no blocks."""
    groups: dict[bytes, list[Block]] = {}
    for block in blocks:
        groups.setdefault(block.made_by, []).append(block)
    return [_frame(group) for group in groups.values()] or [_frame([])]


def in_order(frames: Sequence[pl.DataFrame], blocks: Sequence[Block]) -> pl.DataFrame:
    """What `frames_by_maker` gave for the blocks as one frame, in the blocks' order."""
    places: dict[bytes, list[int]] = {}
    for place, block in enumerate(blocks):
        places.setdefault(block.made_by, []).extend([place] * len(block))
    placed = [
        frame.with_columns(pl.Series(_PLACE, own, dtype=pl.UInt32))
        for frame, own in zip(frames, places.values(), strict=True)
    ]
    return pl.concat(placed, how="diagonal").sort(_PLACE, maintain_order=True).drop(_PLACE)


def _frame(blocks: Sequence[Block]) -> pl.DataFrame:
    """The rows of blocks of one maker."""
    count = sum(map(len, blocks))
    known = _repeated(pl.Series([micros(block.scored_at) for block in blocks], dtype=pl.Int64), map(len, blocks), count)
    known = known.cast(TIME)
    own = {name: _constant(name, blocks, count) for name in COLUMNS}
    own |= {name: _texts(name, blocks) for name in ("prediction_id", "decision")}
    own |= {name: _listed(name, blocks, own["decision"]) for name in LISTED}
    own |= _origins([origin for block in blocks for origin in block.origins], count)
    own["scored_at"] = known.alias("scored_at")
    own["score"] = _without_nan(pl.Series("score", _array(blocks, "score", FLOAT)))
    return pl.DataFrame(
        [
            _texts("key", blocks).alias("_key"),
            pl.Series("_event_time", _array(blocks, "at", INT)).cast(TIME),
            known.alias("_known_at"),
            pl.Series("_tombstone", [False], pl.Boolean).new_from_index(0, count),
            *(own[name].alias(name) for name in COLUMNS),
            *_features(blocks, count),
        ]
    )


def _constant(name: str, blocks: Sequence[Block], count: int) -> pl.Series:
    value = getattr(blocks[0].maker, name, None) if blocks else None
    return pl.Series(name, [value], COLUMNS[name]).new_from_index(0, count)


def _origins(origins: Sequence[Origin], count: int) -> dict[str, pl.Series]:
    return {
        name: _repeated(
            pl.Series(name, [getattr(one, name) for one in origins], COLUMNS[name]),
            (one.rows for one in origins),
            count,
        )
        for name in ("principal", "trace_id", "latency_ms")
    }


def _repeated(values: pl.Series, times: Any, count: int) -> pl.Series:
    """Each value as often as it stands for a row."""
    if len(values) == count:
        return values
    if len(values) == 1:
        return values.new_from_index(0, count)
    return values.gather(np.repeat(np.arange(len(values), dtype=np.uint32), list(times)))


def _listed(name: str, blocks: Sequence[Block], decided: pl.Series) -> pl.Series:
    dtype = COLUMNS[name]
    if all(getattr(block, name) is None for block in blocks):
        return _acted_on(decided) if name == "action" else _absent(name, dtype, len(decided))
    values = list(chain.from_iterable(block.column(name) for block in blocks))
    if name == "degraded":
        return code_lists(values)
    return _times(values) if dtype == TIME else pl.Series(name, values, dtype)


def _acted_on(decided: pl.Series) -> pl.Series:
    """The actions where every decision was acted on; no decision is no action."""
    nothing = decided == ""
    return decided.set(nothing, None) if nothing.any() else decided


def _absent(name: str, dtype: Any, count: int) -> pl.Series:
    """The column of a field that no block has: what that means, in every row."""
    meant = _NO_CODES if name == "degraded" else ABSENT.get(name)
    return pl.Series(name, [meant], dtype).new_from_index(0, count)


def _features(blocks: Sequence[Block], count: int) -> list[pl.Series]:
    if not blocks:
        return []
    maker = blocks[0].maker
    numbers = _array(blocks, "cells", FLOAT).reshape(count, len(maker.numbers)).T
    made = {
        name: _without_nan(pl.Series(np.ascontiguousarray(own)))
        for name, own in zip(maker.numbers, numbers, strict=True)
    }
    for place, name in enumerate(maker.categories):
        made[name] = _divided("", [block.texts[place] for block in blocks])
    return [values.alias(FEATURE_PREFIX + name) for name, values in made.items()]


def _without_nan(values: pl.Series) -> pl.Series:
    return values.fill_nan(None)


def _array(blocks: Sequence[Block], name: str, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return np.frombuffer(b"".join([getattr(block, name) for block in blocks]), dtype)


def _texts(name: str, blocks: Sequence[Block]) -> pl.Series:
    return _divided(name, [getattr(block, name) for block in blocks])


def _divided(name: str, parts: Sequence[Sequence[str | None] | str]) -> pl.Series:
    """The texts of all blocks. Polars divides one text sooner than Python makes as many of it."""
    held = [joined(part) for part in parts]
    if not held or any(text is None for text in held):
        return pl.Series(name, list(chain.from_iterable(map(divided, parts))), pl.String)
    return pl.Series(name, [DIVIDER.join(held)], pl.String).str.split(DIVIDER).explode()  # type: ignore[arg-type]


def _times(values: Sequence[datetime | None]) -> pl.Series:
    """Times by their microseconds: Polars takes a datetime of Python's apart field by field."""
    return pl.Series([None if value is None else micros(value) for value in values], dtype=pl.Int64).cast(TIME)
