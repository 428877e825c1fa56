"""Entities are compared as text, so that 7 in a table and "7" in a request are one; null is nobody."""

from typing import Any

import numpy as np
import polars as pl

from loopline.errors import InvalidInput
from loopline.features.intervals import Ints

_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)


def entity_codes(asked: pl.Series, filed: pl.Series) -> tuple[Ints, Ints]:
    """Integers that are equal where entities are, for the entities that `asked` holds; -1 for null and for others.

    Raises `InvalidInput` where either holds neither text nor integers.
    """
    if asked.dtype in _INTEGERS and filed.dtype in _INTEGERS:
        return _codes_of_integers(asked, filed)
    names = entity_names(asked)
    kinds = pl.Enum(names.unique().drop_nulls())
    return _codes(names, kinds), _codes(entity_names(filed), kinds)


def entity_names(series: pl.Series) -> pl.Series:
    """Entities as text. Raises `InvalidInput` where they are neither text nor integers."""
    if series.dtype == pl.String:
        return series
    if series.dtype.is_integer() or series.dtype in (pl.Categorical, pl.Enum, pl.Null):
        return series.cast(pl.String)
    raise _not_an_entity(series.name, series.dtype)


def entity_name(value: Any) -> str | None:
    """One entity as text; None for None. Raises `InvalidInput` where it is neither text nor an integer."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise _not_an_entity(repr(value), type(value).__name__)


def _not_an_entity(what: str, kind: object) -> InvalidInput:
    return InvalidInput(
        "features.not_an_entity",
        f"{what} holds {kind}; an entity is text or an integer",
        remedy="Cast the column that the view is `by` to String.",
    )


def _codes(names: pl.Series, kinds: pl.Enum) -> Ints:
    return names.cast(kinds, strict=False).to_physical().cast(pl.Int64).fill_null(-1).to_numpy()


def _codes_of_integers(asked: pl.Series, filed: pl.Series) -> tuple[Ints, Ints]:
    known = asked.drop_nulls().cast(pl.Int64).unique().sort().to_numpy()
    return _places(asked, known), _places(filed, known)


def _places(series: pl.Series, known: Ints) -> Ints:
    if len(known) == 0:
        return np.full(len(series), -1)
    values = series.cast(pl.Int64).fill_null(0).to_numpy()
    found = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where((known[found] == values) & series.is_not_null().to_numpy(), found, -1)
