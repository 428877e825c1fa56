"""What each field adds to one prediction, and to many."""

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.models.signature import Field, Signature
from loopline.values import canonical_json

SUMMARY = "explanation"
"""Under this name a version's lineage and run have the digest of its summary."""

Rows = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Unit = Literal["log_odds", "probability", "value"]

_BINS = 8
_LEVELS = 12
_DIGITS = 6


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One prediction taken apart: `base` + the sum of `contributions` = `total`, in `unit`.

    In log-odds `total` is that of the score, clipped into [1e-9, 1 - 1e-9]; for a class among several, that of `of`. `base`
    is the mean over the background. `contributions` are by field, the largest first. `error` is the largest standard error
    of a contribution, 0 where `method` is exact.
    """

    unit: Unit
    base: float
    total: float
    contributions: dict[str, float]
    method: str
    background_rows: int
    error: float = 0.0
    of: str | None = None


class Level(msgspec.Struct, frozen=True):
    """The rows that share a value, or a range of values, of a field, and the mean of what the field adds to them."""

    name: str
    rows: int
    mean: float


class FieldEffect(msgspec.Struct, frozen=True, kw_only=True):
    """What a field does. `importance` is the mean size of its contribution, `share` its part of all fields' importance.

    `direction` is the correlation of value and contribution, from -1 to 1, of a number; `levels` say what its values add.
    """

    name: str
    kind: str
    importance: float
    share: float
    direction: float | None
    levels: tuple[Level, ...]


class ExplanationSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's fields do over `rows` rows, the most important first.

    `method` says how it was worked out, and from what; `of_rows` which rows. `base` is the mean output of the background,
    None where there are several outputs: then importance is the mean over outputs.
    """

    method: str
    unit: Unit
    rows: int
    background_rows: int
    of_rows: str
    base: float | None
    fields: tuple[FieldEffect, ...]

    def encoded(self) -> bytes:
        """Canonical JSON: what is kept as an artifact."""
        return canonical_json(self)

    def without_values(self, fields: Collection[str]) -> "ExplanationSummary":
        """The same with nothing told of the values of these fields."""
        kept = [msgspec.structs.replace(one, levels=()) if one.name in fields else one for one in self.fields]
        return msgspec.structs.replace(self, fields=tuple(kept))

    def relative_importance(self) -> dict[str, float]:
        """Importance by field, 1 for the most important."""
        most = max((field.importance for field in self.fields), default=0.0)
        return {field.name: field.importance / most if most else 1.0 for field in self.fields}


def summarise(
    contributions: Floats,
    matrix: Rows,
    signature: Signature,
    *,
    method: str,
    unit: Unit,
    background_rows: int,
    of_rows: str,
    base: float | None,
) -> ExplanationSummary:
    """Sum up `contributions`, (rows, fields) or (rows, fields, outputs), of the rows in `matrix`.

    Figures are rounded to six digits, so that the last bits of a machine do not make another summary.
    """
    one = contributions if contributions.ndim == 2 else None  # noqa: PLR2004 - one output
    sizes = np.abs(contributions).reshape(*contributions.shape[:2], -1).mean(axis=(0, 2))
    total = float(sizes.sum()) or 1.0
    effects = [
        FieldEffect(
            name=field.name,
            kind=field.kind,
            importance=_rounded(sizes[place]),
            share=_rounded(sizes[place] / total),
            direction=None if one is None else _direction(field, matrix[:, place], one[:, place]),
            levels=() if one is None else _levels(field, matrix[:, place], one[:, place]),
        )
        for place, field in enumerate(signature.fields)
    ]
    return ExplanationSummary(
        method=method,
        unit=unit,
        rows=len(matrix),
        background_rows=background_rows,
        of_rows=of_rows,
        base=None if base is None else _rounded(base),
        fields=tuple(sorted(effects, key=lambda effect: (-effect.importance, effect.name))),
    )


def decode_summary(content: bytes) -> ExplanationSummary:
    """The summary in the bytes of its artifact."""
    return msgspec.json.decode(content, type=ExplanationSummary)


def _direction(field: Field, values: Rows, added: Floats) -> float | None:
    known = ~np.isnan(values)
    x, y = values[known].astype(np.float64), added[known]
    if field.kind == "category" or len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:  # noqa: PLR2004 - a line has two ends
        return None
    return _rounded(np.corrcoef(x, y)[0, 1])


def _levels(field: Field, values: Rows, added: Floats) -> tuple[Level, ...]:
    named = _by_category(field, values) if field.kind == "category" else _by_range(values)
    named = [*named, ("missing" if field.kind == "number" else "missing or unseen", np.isnan(values))]
    return tuple(Level(name, int(mask.sum()), _rounded(added[mask].mean())) for name, mask in named if mask.any())


def _by_category(field: Field, values: Rows) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    counts = [(name, values == code) for code, name in enumerate(field.categories)]
    return sorted(counts, key=lambda one: (-int(one[1].sum()), one[0]))[:_LEVELS]


def _by_range(values: Rows) -> Sequence[tuple[str, npt.NDArray[np.bool_]]]:
    known = values[~np.isnan(values)]
    if not len(known):
        return []
    distinct = np.unique(known)
    if len(distinct) <= _BINS:
        return [(f"{value:.6g}", values == value) for value in distinct.tolist()]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1), method="inverted_cdf"))
    inner = np.searchsorted(edges[1:-1], values, side="right")
    names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges.tolist())]
    return [(name, (inner == at) & ~np.isnan(values)) for at, name in enumerate(names)]


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
