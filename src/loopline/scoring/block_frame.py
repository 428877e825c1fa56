"""Blocks as rows of their table. What their rows share, and what none of them has, is not written out row by row."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.scoring.block import ABSENT, SHARED, Block
from loopline.scoring.record import COLUMNS, FEATURE_PREFIX, FEATURE_TYPES, TIME, code_lists
from loopline.values import EPOCH, MICROSECOND

_NO_CODES: list[str] = []


def prediction_frame(blocks: Sequence[Block]) -> pl.DataFrame:
    """The predictions as rows of their table, in order; a feature that only some of them have is null in the others."""
    owners = np.repeat(np.arange(len(blocks), dtype=np.uint32), [len(block) for block in blocks])
    own = {name: _column(name, dtype, blocks, owners) for name, dtype in COLUMNS.items()}
    features = [_feature(name, kind, blocks).alias(FEATURE_PREFIX + name) for name, kind in features_of(blocks).items()]
    return pl.DataFrame(
        [
            pl.Series("_key", _joined(blocks, "key"), pl.String),
            _times(_joined(blocks, "at")).alias("_event_time"),
            own["scored_at"].alias("_known_at"),
            pl.Series("_tombstone", [False], pl.Boolean).new_from_index(0, len(owners)),
            *own.values(),
            *features,
        ]
    )


def features_of(blocks: Sequence[Block]) -> dict[str, str]:
    """The features that any of the predictions used, name to kind, in the order they first appear."""
    kinds: dict[str, str] = {}
    for block in blocks:
        kinds.update(dict.fromkeys(block.numbers, "number"))
        kinds.update(dict.fromkeys(block.categories, "category"))
    return kinds


def _column(name: str, dtype: Any, blocks: Sequence[Block], owners: npt.NDArray[np.uint32]) -> pl.Series:
    if name in SHARED:
        values = [getattr(block, name) for block in blocks]
        shared = _times(values).alias(name) if dtype == TIME else pl.Series(name, values, dtype)
        return shared if len(owners) == len(blocks) else shared.gather(owners)
    if all(getattr(block, name) is None for block in blocks):
        return _absent(name, dtype, blocks, len(owners))
    values = _joined(blocks, name)
    if name == "degraded":
        return code_lists(values)
    return _times(values).alias(name) if dtype == TIME else pl.Series(name, values, dtype)


def _absent(name: str, dtype: Any, blocks: Sequence[Block], count: int) -> pl.Series:
    """The column of a field that no block has: what that means, in every row."""
    if name == "action":
        decided = pl.Series(name, _joined(blocks, "decision"), pl.String)
        return decided.to_frame().select(pl.when(pl.col(name) != "").then(pl.col(name)))[name]
    meant = _NO_CODES if name == "degraded" else ABSENT.get(name)
    return pl.Series(name, [meant], dtype).new_from_index(0, count)


def _feature(name: str, kind: str, blocks: Sequence[Block]) -> pl.Series:
    held: list[Mapping[str, Sequence[Any]]] = [
        block.numbers if kind == "number" else block.categories for block in blocks
    ]
    parts = (found.get(name) or [None] * len(block) for found, block in zip(held, blocks, strict=True))
    return pl.Series(name, list(chain.from_iterable(parts)), FEATURE_TYPES[kind])


def _joined(blocks: Sequence[Block], name: str) -> list[Any]:
    return list(chain.from_iterable(block.column(name) for block in blocks))


def _times(values: Sequence[datetime | None]) -> pl.Series:
    """Times by their microseconds: Polars takes a datetime of Python's apart field by field."""
    counted = [None if value is None else (value - EPOCH) // MICROSECOND for value in values]
    return pl.Series("at", counted, pl.Int64).cast(TIME)
