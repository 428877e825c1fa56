"""The contract between a caller and a model: which columns a row must have, of which type, and what is odd about its values.

Wrong rows are refused, all of them and before anything is scored. Odd values (a category the training rows did not have, a
number outside their range, a null where they had none) are scored, and flagged.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from numbers import Real
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput
from loopline.models.signature import Field, Signature
from loopline.scoring.times import moment

Matrix = npt.NDArray[np.float32]
Values = Mapping[str, Any]

UNSEEN_CATEGORY = "unseen_category"
OUT_OF_RANGE = "out_of_range"
NULL_UNSEEN = "null_unseen"
FEATURE_MISSING = "feature_missing"

_LARGEST = float(np.finfo(np.float32).max)
_NAN = math.nan


class Contract:
    """Checks and encodes rows for one model.

    A row is a mapping with the row's key (text), its time `at` (ISO 8601 with a zone, or whole microseconds since 1970 UTC, or an
    aware datetime), every given field of `signature`, every column in `entities` that features are looked up by, and every one in
    `carried`, such as a ranking's group. Without a signature (no model could be loaded) only key and time are checked and any other column is let through.
    """

    def __init__(
        self,
        signature: Signature | None,
        *,
        key: str,
        at: str,
        entities: AbstractSet[str] = frozenset(),
        carried: AbstractSet[str] = frozenset(),
    ) -> None:
        self._open = signature is None
        self.signature = signature = signature or Signature(fields=())
        self.key = key
        self.at = at
        self.given = tuple(field for field in signature.fields if field.given and field.name not in {key, at})
        taken = {field.name for field in self.given} | {key, at}
        self.entities = () if self._open else tuple(sorted(entities - taken))
        self.carried = tuple(sorted(carried - taken - entities))
        self.columns = (key, at, *(field.name for field in self.given), *self.entities, *self.carried)
        self._column_set = frozenset(self.columns)
        self._checks = tuple((field.name, _CHECKS[field.kind]) for field in self.given)
        self._coders = tuple((field.name, _coder(field)) for field in signature.fields)
        self._bounds = _Bounds(signature)

    def check(self, rows: Sequence[Values]) -> tuple[list[str], list[datetime]]:
        """The keys and times (UTC) of `rows`, once every row is found to be right.

        Raises `InvalidInput` naming the first wrong row and column: `scoring.row_not_object`, `scoring.unknown_column`,
        `scoring.missing_column`, `scoring.bad_key`, `scoring.duplicate_key`, `scoring.bad_time`, `scoring.not_a_number`,
        `scoring.not_a_category`, `scoring.not_finite`.
        """
        keys, times = [], []
        for index, row in enumerate(rows):
            self._check_columns(row, index)
            keys.append(_key(row[self.key], index, self.key))
            times.append(moment(row[self.at], index, self.at))
            for name, check in self._checks:
                check(row[name], index, name)
            for name in self.entities:
                _check_entity(row[name], index, name)
        if len(set(keys)) < len(keys):
            _refuse_duplicate(keys, self.key)
        return keys, times

    def encode(self, rows: Sequence[Values]) -> Matrix:
        """The model's matrix (rows, fields) for rows that hold every field's value; what is absent or null becomes NaN.

        The same numbers as `Signature.encode` gives for a frame, without building one.
        """
        coded = [[code(row.get(name)) for name, code in self._coders] for row in rows]
        with np.errstate(over="ignore"):
            return np.array(coded, dtype=np.float32).reshape(len(coded), len(self._coders))

    def encode_frame(self, frame: pl.DataFrame) -> Matrix:
        """As `encode`, for a frame; a field it lacks is NaN in every row."""
        absent = [pl.lit(None).alias(name) for name in self.signature.names if name not in frame.columns]
        return self.signature.encode(frame.with_columns(absent) if absent else frame)

    def oddities(self, matrix: Matrix, value: Callable[[int, str], Any]) -> list[tuple[str, ...]]:
        """Codes of what is odd about each row of `matrix`, in the order of the fields; `value(row, field name)` is the
        value a cell was encoded from, asked for only where a cell is odd.
        """
        return self._bounds.oddities(matrix, value)

    def used(self, row: Values) -> tuple[dict[str, float | None], dict[str, str | None]]:
        """The numbers and the categories of a row as the model takes them, before encoding, NaN as None."""
        numbers: dict[str, float | None] = {}
        categories: dict[str, str | None] = {}
        for field in self.signature.fields:
            if field.kind == "number":
                numbers[field.name] = _number_or_none(row.get(field.name))
            else:
                categories[field.name] = row.get(field.name)
        return numbers, categories

    def _check_columns(self, row: Values, index: int) -> None:
        if type(row) is not dict and not isinstance(row, Mapping):
            raise InvalidInput(
                "scoring.row_not_object",
                f"row {index} is not an object of columns",
                remedy=f"Send each row as an object with {', '.join(self.columns)}.",
                row=index,
            )
        if row.keys() == self._column_set:
            return
        unknown = [] if self._open else [name for name in row if name not in self._column_set]
        if self._open and row.keys() >= self._column_set:
            return
        code, what = ("scoring.unknown_column", "an unknown") if unknown else ("scoring.missing_column", "no")
        name = unknown[0] if unknown else next(name for name in self.columns if name not in row)
        raise InvalidInput(
            code,
            f"row {index} has {what} column {str(name)[:100]!r}",
            remedy=f"Send exactly these columns: {', '.join(self.columns)}; null where there is no value.",
            row=index,
            column=str(name)[:100],
        )


class _Bounds:
    """What the training rows held, as arrays over the fields: finds the odd cells of a whole matrix at once."""

    def __init__(self, signature: Signature) -> None:
        fields = signature.fields
        self._fields = fields
        self._lowest = np.array([_bound(field.minimum, -math.inf) for field in fields], dtype=np.float32)
        self._highest = np.array([_bound(field.maximum, math.inf) for field in fields], dtype=np.float32)
        self._nan_is_odd = np.array([field.kind == "category" or not field.nulls for field in fields], dtype=bool)

    def oddities(self, matrix: Matrix, value: Callable[[int, str], Any]) -> list[tuple[str, ...]]:
        inside = (matrix >= self._lowest) & (matrix <= self._highest)
        odd = ~inside & (self._nan_is_odd | ~np.isnan(matrix))
        if not odd.any():
            return [()] * len(matrix)
        codes: list[tuple[str, ...]] = [()] * len(matrix)
        for row, place in np.argwhere(odd).tolist():
            field = self._fields[place]
            code = _oddity(field, value(row, field.name))
            if code:
                codes[row] = (*codes[row], f"{code}:{field.name}")
        return codes


def _oddity(field: Field, value: Any) -> str | None:
    if value is None or value != value:  # noqa: PLR0124 - only NaN differs from itself
        if field.nulls:
            return None
        return NULL_UNSEEN if field.given else FEATURE_MISSING
    return UNSEEN_CATEGORY if field.kind == "category" else OUT_OF_RANGE


def _bound(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _coder(field: Field) -> Callable[[Any], float]:
    if field.kind == "number":
        return _number
    codes = {name: float(code) for code, name in enumerate(field.categories)}
    return lambda value: codes.get(value, _NAN)


def _number(value: Any) -> float:
    return _NAN if value is None else float(value)


def _number_or_none(value: Any) -> float | None:
    return None if value is None or value != value else float(value)  # noqa: PLR0124 - only NaN differs from itself


def _check_number(value: Any, index: int, name: str) -> None:
    kind = type(value)
    if kind is float or kind is int:
        if not -_LARGEST <= value <= _LARGEST and value == value:  # noqa: PLR0124 - only NaN differs from itself
            _refuse_infinite(index, name)
    elif value is not None:
        if kind is bool or not isinstance(value, Real):
            _refuse_type("scoring.not_a_number", "a number", value, index, name)
        _check_number(float(value), index, name)


def _check_category(value: Any, index: int, name: str) -> None:
    if value is not None and not isinstance(value, str):
        _refuse_type("scoring.not_a_category", "text", value, index, name)


def _check_entity(value: Any, index: int, name: str) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, (str, int))):
        _refuse_type("scoring.not_an_entity", "text or a whole number", value, index, name)


_CHECKS: Mapping[str, Callable[[Any, int, str], None]] = {"number": _check_number, "category": _check_category}


def _key(value: Any, index: int, name: str) -> str:
    if type(value) is not str or not value:
        raise InvalidInput(
            "scoring.bad_key",
            f"row {index}: {name!r} must be text that is not empty",
            remedy="Send the row's key as a string; predictions and labels are joined by it.",
            row=index,
            column=name,
        )
    return value


def _refuse_type(code: str, wanted: str, value: Any, index: int, name: str) -> NoReturn:
    raise InvalidInput(
        code,
        f"row {index}: {name!r} must be {wanted} or null, not {type(value).__name__}",
        remedy=f"Send {name!r} as {wanted}.",
        row=index,
        column=name,
    )


def _refuse_infinite(index: int, name: str) -> NoReturn:
    raise InvalidInput(
        "scoring.not_finite",
        f"row {index}: {name!r} is infinite, or too large for a 32-bit float",
        remedy="Send a finite number, or null where there is no value.",
        row=index,
        column=name,
    )


def _refuse_duplicate(keys: list[str], name: str) -> NoReturn:
    seen: set[str] = set()
    index = next(i for i, key in enumerate(keys) if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    raise InvalidInput(
        "scoring.duplicate_key",
        f"row {index} has the same {name!r} as an earlier row of this request",
        remedy="Send each key once in a request.",
        row=index,
        column=name,
    )
