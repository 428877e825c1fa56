"""The contract between a caller and a model: which columns a row must have, of which type, and what is odd about its values.

Wrong rows are refused, all of them and before anything is scored. Odd values (a category the training rows did not have, a
number outside their range, a null where they had none) are treated as the endpoint's terms say: by default scored, and flagged.
"""

import math
import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import datetime
from itertools import chain
from numbers import Real
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput
from loopline.models.contract_terms import FLAGGED, ContractTerms
from loopline.models.signature import Signature
from loopline.scoring.columns import Columns, Values, as_list, columns_of, require_columns
from loopline.scoring.times import moments
from loopline.scoring.treatment import LARGEST, Imputed, Matrix, Rows, Treated, Treatment, refuse_infinite

Cells = npt.NDArray[np.float64]

_NAN = math.nan
_MOST_PACKED = 1 << 16


class Contract:
    """Checks and encodes rows for one model.

    A row has a key (text), its time `at` (ISO 8601 with a zone, or whole microseconds since 1970 UTC, or an aware datetime), every
    given field of `signature`, every column in `entities` that features are looked up by, and every one in `carried`, such as a
    ranking's group. With `fills` it may lack its key and its time. Without a signature (no model could be loaded) only key and time are
    checked and any other column is let through; those `ruled` are kept. `terms` say what is done about odd values.
    """

    def __init__(
        self,
        signature: Signature | None,
        *,
        key: str,
        at: str,
        entities: AbstractSet[str] = frozenset(),
        carried: AbstractSet[str] = frozenset(),
        fills: bool = False,
        ruled: Sequence[str] = (),
        terms: ContractTerms = FLAGGED,
    ) -> None:
        self.open = signature is None
        kept = tuple(name for name in ruled if name not in {key, at} | carried) if self.open else ()
        self.optional = (*((key, at) if fills else ()), *kept)
        self.signature = signature = signature or Signature(fields=())
        self.key = key
        self.at = at
        self.given = tuple(field for field in signature.fields if field.given and field.name not in {key, at})
        taken = {field.name for field in self.given} | {key, at}
        self.entities = () if self.open else tuple(sorted(entities - taken))
        self.carried = tuple(sorted(carried - taken - entities))
        self.columns = (key, at, *(field.name for field in self.given), *self.entities, *self.carried, *kept)
        self._names = frozenset(self.columns)
        self._checks = tuple((field.name, _CHECKS[field.kind]) for field in self.given)
        self.numbers = tuple(field.name for field in signature.fields if field.kind == "number")
        self.categories = tuple(field.name for field in signature.fields if field.kind == "category")
        self._number_places = [place for place, field in enumerate(signature.fields) if field.kind == "number"]
        self._coders = tuple(
            (field.name, place, {name: float(code) for code, name in enumerate(field.categories)})
            for place, field in enumerate(signature.fields)
            if field.kind == "category"
        )
        self._treatment = Treatment(signature, terms)

    def read(self, rows: Sequence[Any]) -> Columns:
        """Rows that are objects, as columns; null where a row lacks the key or the time and gets its own. Raises `InvalidInput`
        as `columns_of`.
        """
        return columns_of(rows, self.columns, optional=self.optional, more=self.open)

    def check(self, columns: Columns, counts: Sequence[int] = ()) -> tuple[list[str], list[datetime]]:
        """The keys and times (UTC) of the rows in `columns`, once every row is found to be right. `counts` are the numbers of rows of each
        request in them, where they are of several: no request may name a key twice.

        Raises `InvalidInput` naming the first wrong row of a column: `scoring.unknown_column`, `scoring.missing_column`,
        `scoring.bad_key`, `scoring.duplicate_key`, `scoring.bad_time`, `scoring.not_a_number`, `scoring.not_a_category`,
        `scoring.not_finite`.
        """
        if columns.keys() != self._names:
            require_columns(columns, self.columns, optional=self.optional, more=self.open)
        keys = _keys(columns[self.key], self.key, counts)
        times = moments(columns[self.at], self.at)
        if not columns.typed and not _plain_matrix(columns, self.numbers):
            for name, check in self._checks:
                check(columns[name], name)
        for name in self.entities:
            _check_entities(columns[name], name)
        return keys, times

    def cells(self, columns: Mapping[str, Values], count: int) -> Cells:
        """The numbers among the features, as 64-bit floats of shape (count, numbers); what is absent or null is NaN. C-contiguous."""
        if isinstance(columns, Columns) and columns.matrix is not None and columns.matrix[0] == self.numbers:
            return np.ascontiguousarray(columns.matrix[1], dtype=np.float64)
        held = [columns[name] if name in columns else [_NAN] * count for name in self.numbers]
        if not held:
            return np.empty((count, 0))
        try:
            if count == 1:
                return _one_row([values[0] for values in held])
            return np.ascontiguousarray(_by_number(held, count).T)
        except OverflowError:  # a whole number that no float can hold
            self._refuse_large(columns)
            raise

    def encode(self, columns: Mapping[str, Values], count: int, cells: Cells | None = None) -> Matrix:
        """The model's matrix (count, fields) for columns that hold every field's values; what is absent or null becomes NaN. `cells` are
        those of the columns, where they are made already.

        The same numbers as `Signature.encode` gives for a frame, without building one. C-contiguous.
        """
        cells = self.cells(columns, count) if cells is None else cells
        with np.errstate(over="ignore"):  # what a 32-bit float cannot hold becomes infinite
            if not self._coders:
                return cells.astype(np.float32)
            matrix = np.empty((count, len(self.signature.fields)), dtype=np.float32)
            matrix[:, self._number_places] = cells
        for name, place, codes in self._coders:
            matrix[:, place] = [codes.get(value, _NAN) for value in columns[name]] if name in columns else _NAN
        return matrix

    def encode_frame(self, frame: pl.DataFrame) -> Matrix:
        """As `encode`, for a frame; a field it lacks is NaN in every row."""
        absent = [pl.lit(None).alias(name) for name in self.signature.names if name not in frame.columns]
        return self.signature.encode(frame.with_columns(absent) if absent else frame)

    def ordinary(self, matrix: Matrix) -> bool:
        """Whether every cell has a value, and one like those of the training rows: nothing is odd then, and nothing missing."""
        return self._treatment.hold(matrix)

    def treat(self, matrix: Matrix, rows: Rows) -> Treated:
        """What is odd about each row of `matrix`, which `rows` were encoded to; puts in what is imputed. Raises as `Treatment.treat`."""
        return self._treatment.treat(matrix, rows)

    def _refuse_large(self, columns: Mapping[str, Values]) -> None:
        for field in self.given:
            if field.kind == "number":
                for index, value in enumerate(columns[field.name]):
                    _check_number(value, index, field.name)

    def used(
        self, columns: Mapping[str, Values], cells: Cells, imputed: Imputed
    ) -> tuple[Cells, list[list[str | None]]]:
        """The numbers and, category by category, the texts as the model takes them, before encoding, with what was `imputed`."""
        texts: list[Any] = [
            _as_list(columns[name]) if name in columns else [None] * len(cells) for name in self.categories
        ]
        for name, found in imputed.items():
            if name in self.categories:
                held = texts[self.categories.index(name)]
                texts[self.categories.index(name)] = [found.get(row, value) for row, value in enumerate(held)]
            else:
                cells = cells.copy()
                cells[list(found), self.numbers.index(name)] = list(found.values())
        return cells, texts


def _one_row(values: list[Any]) -> Cells:
    """Without numpy's way of finding out what it is given, which takes longer than a small model."""
    held = array("d", [_NAN if value is None else value for value in values])
    return np.frombuffer(held).reshape(1, len(values))


def _by_number(held: Sequence[Values], count: int) -> Cells:
    """Columns as rows of an array (numbers, count). Numpy looks at each value of a list twice before it takes it; packing does not,
    and knows no null.
    """
    if len(held) * count <= _MOST_PACKED and all(type(values) is list for values in held):
        with suppress(struct.error):
            packed = struct.pack(f"{len(held) * count}d", *chain.from_iterable(held))
            return np.frombuffer(packed).reshape(len(held), count)
    return np.array(held, dtype=np.float64)


def _as_list(values: Values) -> list[Any]:
    return values if type(values) is list else as_list(values)


def _check_numbers(values: Values, name: str) -> None:
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "fiu":
            _refuse_type("scoring.not_a_number", "a number", values[0], 0, name)
        infinite = np.isinf(values.astype(np.float32))
        if infinite.any():
            refuse_infinite(int(np.argmax(infinite)), name)
        return
    if not _PLAIN.issuperset(map(type, values)):
        for index, value in enumerate(values):
            _check_number(value, index, name)


def _plain_matrix(columns: Columns, numbers: tuple[str, ...]) -> bool:
    """Whether all numbers came as one array of them, and none is infinite: then none has to be looked at by itself."""
    if columns.matrix is None or columns.matrix[0] != numbers or columns.matrix[1].dtype.kind not in "fiu":
        return False
    with np.errstate(over="ignore"):
        return not np.isinf(columns.matrix[1].astype(np.float32)).any()


def _check_number(value: Any, index: int, name: str) -> None:
    kind = type(value)
    if kind is float or kind is int:
        if not -LARGEST <= value <= LARGEST and value == value:  # noqa: PLR0124 - only NaN differs from itself
            refuse_infinite(index, name)
    elif value is not None:
        if kind is bool or not isinstance(value, Real):
            _refuse_type("scoring.not_a_number", "a number", value, index, name)
        _check_number(float(value), index, name)


def _check_categories(values: Values, name: str) -> None:
    if not _TEXTS.issuperset(map(type, values)):
        for index, value in enumerate(values):
            if value is not None and not isinstance(value, str):
                _refuse_type("scoring.not_a_category", "text", value, index, name)


def _check_entities(values: Values, name: str) -> None:
    if not _ENTITIES.issuperset(map(type, values)):
        for index, value in enumerate(values):
            if value is not None and (isinstance(value, bool) or not isinstance(value, (str, int))):
                _refuse_type("scoring.not_an_entity", "text or a whole number", value, index, name)


_PLAIN = frozenset({float, int, type(None)})
_KEYS = frozenset({str})
_TEXTS = frozenset({str, type(None)})
_ENTITIES = frozenset({str, int, type(None)})
_CHECKS: Mapping[str, Callable[[Values, str], None]] = {"number": _check_numbers, "category": _check_categories}


def _keys(values: Values, name: str, counts: Sequence[int]) -> list[str]:
    keys = as_list(values)
    if not _KEYS.issuperset(map(type, keys)) or not all(keys):
        _refuse_key(keys, name)
    start = 0
    for count in counts or (len(keys),):
        if count > 1 and len(set(keys[start : start + count])) < count:
            _refuse_duplicate(keys[start : start + count], name)
        start += count
    return keys


def _refuse_key(keys: Sequence[Any], name: str) -> NoReturn:
    index = next(index for index, key in enumerate(keys) if type(key) is not str or not key)
    raise InvalidInput(
        "scoring.bad_key",
        f"row {index}: {name!r} must be text that is not empty",
        remedy="Send the row's key as a string; predictions and labels are joined by it.",
        row=index,
        column=name,
    )


def _refuse_type(code: str, wanted: str, value: Any, index: int, name: str) -> NoReturn:
    raise InvalidInput(
        code,
        f"row {index}: {name!r} must be {wanted} or null, not {type(value).__name__}",
        remedy=f"Send {name!r} as {wanted}.",
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
