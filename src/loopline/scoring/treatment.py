"""What is odd about the cells of a model's matrix, and what is done about it: refuse, put a usual value in its place, or say so."""

import math
from collections.abc import Callable, Mapping, Sequence
from operator import le
from typing import Any, NoReturn, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput, LooplineError, Unavailable
from loopline.models.contract_terms import FLAGGED, ContractTerms
from loopline.models.signature import Field, Signature

Matrix = npt.NDArray[np.float32]
Codes = Sequence[tuple[str, ...]]
Gaps = Mapping[str, Mapping[int, str]]
"""By field, the rows for which the look-up has no value that may be used, and the violation that it is."""
Imputed = Mapping[str, Mapping[int, float | str]]
"""By field and row, the value that was put in the place of what came."""

UNSEEN_CATEGORY = "unseen_category"
OUT_OF_RANGE = "out_of_range"
NULL_UNSEEN = "null_unseen"
FEATURE_MISSING = "feature_missing"
FEATURE_STALE = "feature_stale"
IMPUTED = "imputed"

LARGEST = float(np.finfo(np.float32).max)
"""The largest number that a 32-bit float holds."""

_NO_TIMES = frozenset({"scoring.feature_missing", "scoring.feature_stale"})


class Rows(Protocol):
    """What the treatment asks of the rows. `cell` gives what a cell of row and field was encoded from; without `refuses` nobody waits
    who could be refused, and what would be is flagged.
    """

    @property
    def gaps(self) -> Gaps: ...

    @property
    def refuses(self) -> bool: ...

    def cell(self, index: int, name: str, /) -> Any: ...


class Treated(msgspec.Struct, frozen=True, gc=False):
    """Codes of what is odd about each row, in the order of the fields, None where nothing is; and what was put in."""

    codes: Codes | None = None
    imputed: Imputed = {}


NOTHING = Treated()


class Treatment:
    """Finds the odd cells of a whole matrix at once, by what the training rows of `signature` held, and treats them by `terms`."""

    def __init__(self, signature: Signature, terms: ContractTerms = FLAGGED) -> None:
        fields = signature.fields
        self._fields = fields
        self._terms = terms
        self._places = {field.name: place for place, field in enumerate(fields)}
        self._lowest = np.array([_bound(field.minimum, -LARGEST) for field in fields], dtype=np.float32)
        self._highest = np.array([_bound(field.maximum, LARGEST) for field in fields], dtype=np.float32)
        self._lows, self._highs = self._lowest.tolist(), self._highest.tolist()
        self._nan_is_odd = np.array([field.kind == "category" or not field.nulls for field in fields], dtype=bool)
        self._typical = [_typical(field) for field in fields]

    def hold(self, matrix: Matrix) -> bool:
        """Whether every cell has a value, and one like those of the training rows."""
        if len(matrix) == 1:  # for ten numbers a round through numpy takes longer than looking at them
            [cells] = matrix.tolist()
            return all(map(le, self._lows, cells)) and all(map(le, cells, self._highs))
        return b"\0" not in ((matrix >= self._lowest) & (matrix <= self._highest)).tobytes()

    def treat(self, matrix: Matrix, rows: Rows) -> Treated:
        """What is odd about each row; what is imputed is put into `matrix`.

        Raises `InvalidInput` "scoring.not_finite" for a given number that is infinite as a 32-bit float, "scoring.unseen_category",
        "scoring.out_of_range" and "scoring.null_unseen", and `Unavailable` "scoring.feature_missing" and "scoring.feature_stale" where the
        terms refuse that.
        """
        inside = (matrix >= self._lowest) & (matrix <= self._highest)
        odd = ~inside & (self._nan_is_odd | ~np.isnan(matrix))
        gaps = {self._places[name]: found for name, found in rows.gaps.items() if name in self._places}
        for place, found in gaps.items():
            odd[list(found), place] = True
        if not odd.any():
            return NOTHING
        codes: list[tuple[str, ...]] = [()] * len(matrix)
        imputed: dict[str, dict[int, float | str]] = {}
        for row, place in np.argwhere(odd).tolist():
            field, said = self._fields[place], gaps.get(place, {}).get(row)
            if field.given and math.isinf(matrix[row, place]):
                refuse_infinite(row, field.name)
            violation = said or _violation(field, rows.cell(row, field.name))
            if violation is None:
                continue
            codes[row] = (*codes[row], f"{violation}:{field.name}")
            typical = self._typical[place]
            policy = self._terms.policy(violation, field.name)
            if policy == "refuse" and rows.refuses:
                _REFUSED[violation](row, field.name)
            if policy == "impute" and typical is not None:
                matrix[row, place], value = typical
                imputed.setdefault(field.name, {})[row] = value
                codes[row] = (*codes[row], f"{IMPUTED}:{field.name}")
        return Treated(codes, imputed) if any(codes) else NOTHING


def refuses(error: Exception) -> bool:
    """Whether an error says that the rows are refused, rather than that a model fails."""
    return isinstance(error, InvalidInput) or (isinstance(error, LooplineError) and error.code in _NO_TIMES)


def refuse_infinite(index: int, name: str) -> NoReturn:
    """Raises `InvalidInput` "scoring.not_finite"."""
    raise InvalidInput(
        "scoring.not_finite",
        f"row {index}: {name!r} is infinite, or too large for a 32-bit float",
        remedy="Send a finite number, or null where there is no value.",
        row=index,
        column=name,
    )


def _violation(field: Field, value: Any) -> str | None:
    if value is None or value != value:  # noqa: PLR0124 - only NaN differs from itself
        if field.nulls:
            return None
        return NULL_UNSEEN if field.given else FEATURE_MISSING
    return UNSEEN_CATEGORY if field.kind == "category" else OUT_OF_RANGE


def _bound(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _typical(field: Field) -> tuple[float, float | str] | None:
    """The typical value as the matrix has it, and as it is logged."""
    if field.kind == "category":
        known = field.typical in field.categories
        return (float(field.categories.index(str(field.typical))), str(field.typical)) if known else None
    return (float(field.typical), float(field.typical)) if isinstance(field.typical, (int, float)) else None


def _refuse_unseen(index: int, name: str) -> NoReturn:
    raise InvalidInput(
        "scoring.unseen_category",
        f"row {index}: {name!r} has a category that the model was not trained on",
        remedy="Send one that it knows, or null; the endpoint's contract refuses others.",
        row=index,
        column=name,
    )


def _refuse_outside(index: int, name: str) -> NoReturn:
    raise InvalidInput(
        "scoring.out_of_range",
        f"row {index}: {name!r} is outside of what the model was trained on",
        remedy="Check its unit; the endpoint's contract refuses what no training row was like.",
        row=index,
        column=name,
    )


def _refuse_null(index: int, name: str) -> NoReturn:
    raise InvalidInput(
        "scoring.null_unseen",
        f"row {index}: {name!r} is null, and the model was trained without nulls there",
        remedy="Send a value; the endpoint's contract refuses null.",
        row=index,
        column=name,
    )


def _refuse_missing(index: int, name: str) -> NoReturn:
    raise Unavailable(
        "scoring.feature_missing",
        f"row {index}: feature {name!r} has no value, and the endpoint's contract refuses to score without",
        remedy="Send again later; see the scoring process's log for why the feature store has none.",
        row=index,
        column=name,
    )


def _refuse_stale(index: int, name: str) -> NoReturn:
    raise Unavailable(
        "scoring.feature_stale",
        f"row {index}: feature {name!r} is only known as it was, and the endpoint's contract refuses to score with that",
        remedy="Send again later; see the scoring process's log for why nothing newer is known.",
        row=index,
        column=name,
    )


_REFUSED: Mapping[str, Callable[[int, str], NoReturn]] = {
    UNSEEN_CATEGORY: _refuse_unseen,
    OUT_OF_RANGE: _refuse_outside,
    NULL_UNSEEN: _refuse_null,
    FEATURE_MISSING: _refuse_missing,
    FEATURE_STALE: _refuse_stale,
}
