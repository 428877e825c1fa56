"""What is to be said of one column: type, nulls, range, quantiles, frequent values; personal values masked."""

import math
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import polars as pl

from loopline.tables.proposal.personal import Personal, mask, suspect
from loopline.tables.proposal.reading import Reading

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_TOP = 8
_EXAMPLES = 3
_BINS = 24
_LONGEST = 60
_LOOKED = 2_000


class ColumnFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One column. Values are shown as text; `counts` is a histogram between `low` and `high` (equal widths, finite values)."""

    name: str
    read: str
    proposed: str
    kind: str
    rows: int
    nulls: int
    distinct: int
    low: str | None = None
    high: str | None = None
    mean: float | None = None
    deviation: float | None = None
    quantiles: dict[str, float | str] = {}
    top: list[tuple[str, int]] = []
    examples: list[str] = []
    counts: list[int] = []
    personal: Personal | None = None

    @property
    def null_share(self) -> float:
        """Share of nulls; 0 without rows."""
        return self.nulls / self.rows if self.rows else 0.0


def facts_of(raw: pl.Series, column: pl.Series, reading: Reading) -> ColumnFacts:
    """The facts of a `column` as it is proposed, read from `raw`."""
    known = column.drop_nulls()
    distinct = known.n_unique()
    values, frequent = (known.head(_LOOKED), None) if distinct == len(known) else _frequent(known)
    found = suspect(raw.name, values.cast(pl.String)) if reading.kind in {"text", "whole", "date"} else None
    found = found or (suspect(raw.name, values.head(0).cast(pl.String)) if reading.kind != "nothing" else None)
    return ColumnFacts(
        name=raw.name,
        read=str(raw.dtype),
        proposed=str(reading.dtype) if reading.kind != "nothing" else "nothing",
        kind=reading.kind,
        rows=len(column),
        nulls=column.null_count(),
        distinct=distinct,
        top=[(_shown(value, found), rows) for value, rows in frequent or []],
        examples=[_shown(value, found) for value in known.head(_EXAMPLES).to_list()],
        personal=found,
        **(_range(known, found) if reading.kind != "nothing" else {}),
    )


def _frequent(known: pl.Series) -> tuple[pl.Series, list[tuple[Any, int]]]:
    """Distinct values, and the most frequent ones with their rows, ties in the order of the values."""
    counted = known.alias("value").value_counts(name="rows")
    least = counted["rows"].top_k(_TOP).min()
    most = counted.filter(pl.col("rows") >= least).sort("rows", "value", descending=[True, False]).head(_TOP)
    return counted["value"].head(_LOOKED), list(most.iter_rows())


def _shown(value: Any, personal: Personal | None) -> str:
    text = value if isinstance(value, str) else plain_text(value)
    text = mask(text) if personal else text
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def plain_text(value: Any) -> str:
    """A value for people: whole floats without their point, times without their zone's name."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S").removesuffix(" 00:00:00")
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    return str(value)


def _range(known: pl.Series, personal: Personal | None) -> dict[str, Any]:
    if known.is_empty():
        return {}
    if known.dtype.is_numeric():
        return _numbers(known, personal)
    if known.dtype in (pl.Date, pl.Datetime):
        return _moments(known, personal)
    if known.dtype == pl.Boolean:
        return {"mean": float(known.cast(pl.Float64).sum()) / len(known)}
    return {}


def _numbers(known: pl.Series, personal: Personal | None) -> dict[str, Any]:
    values = known.cast(pl.Float64).to_numpy()
    finite = values[np.isfinite(values)]
    if not len(finite):
        return {}
    if personal:
        return {"counts": _histogram(finite)}
    whole = known.dtype.is_integer()
    low, high = (known.min(), known.max()) if whole else (float(finite.min()), float(finite.max()))
    cut = np.quantile(finite, QUANTILES)
    with np.errstate(over="ignore"):
        mean, deviation = float(finite.mean()), float(finite.std())
    return {
        "low": plain_text(low),
        "high": plain_text(high),
        "mean": mean if math.isfinite(mean) else None,
        "deviation": deviation if math.isfinite(deviation) else None,
        "quantiles": {f"{share:g}": float(value) for share, value in zip(QUANTILES, cut, strict=True)},
        "counts": _histogram(finite),
    }


def _histogram(finite: np.ndarray) -> list[int]:
    low, high = float(finite.min()), float(finite.max())
    if not math.isfinite(high - low) or low == high:
        return [len(finite)]
    counts: list[int] = np.histogram(finite, bins=_BINS, range=(low, high))[0].tolist()
    return counts


def _moments(known: pl.Series, personal: Personal | None) -> dict[str, Any]:
    micros = known.cast(pl.Datetime("us") if known.dtype == pl.Date else known.dtype).to_physical().to_numpy()
    counts = _histogram(micros.astype(np.float64))
    if personal:
        return {"counts": counts}
    lowest: Any = known.min()
    highest: Any = known.max()
    middle: Any = known.sort()[len(known) // 2]
    return {
        "low": plain_text(lowest),
        "high": plain_text(highest),
        "quantiles": {"0.5": plain_text(middle)},
        "counts": counts,
    }
