"""The rows of a request as columns, however they came: as objects, as tensors, as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput

Values = Sequence[Any] | npt.NDArray[Any]


class Columns(dict[str, Values]):
    """Values by name, `count` of each; a numpy array of shape (count,) where they came as one, else a list.

    In a list None is a missing value, in an array NaN.
    """

    __slots__ = ("count",)

    def __init__(self, values: Mapping[str, Values], count: int) -> None:
        super().__init__(values)
        self.count = count

    def taken(self, places: Sequence[int]) -> "Columns":
        """The rows at `places`, in that order."""
        return Columns({name: _taken(values, places) for name, values in self.items()}, len(places))


def columns_of(rows: Sequence[Any], wanted: Sequence[str], *, more: bool = False) -> Columns:
    """The columns of rows that are objects with exactly the columns `wanted`; `more` lets others through, and leaves them out.

    Raises `InvalidInput` naming the first wrong row: `scoring.row_not_object`, `scoring.unknown_column`, `scoring.missing_column`.
    """
    names = frozenset(wanted)
    for index, row in enumerate(rows):
        if type(row) is not dict and not isinstance(row, Mapping):
            raise _not_object(index, wanted)
        if row.keys() != names and not (more and row.keys() >= names):
            raise _other_columns(row, index, wanted, more=more)
    if len(rows) == 1:
        return Columns({name: [rows[0][name]] for name in wanted}, 1)
    return Columns({name: [row[name] for row in rows] for name in wanted}, len(rows))


def require_columns(columns: Columns, wanted: Sequence[str], *, more: bool = False) -> None:
    """Raises `InvalidInput` as `columns_of` unless `columns` are those `wanted`."""
    if columns.keys() != frozenset(wanted) and not (more and columns.keys() >= frozenset(wanted)):
        raise _other_columns(columns, 0, wanted, more=more)


def as_list(values: Values) -> list[Any]:
    """A column as a list in which None is a missing value."""
    if not isinstance(values, np.ndarray):
        return values if isinstance(values, list) else list(values)
    if values.dtype.kind != "f":
        return values.tolist()  # type: ignore[no-any-return]
    found = values.tolist()
    return [None if value != value else value for value in found] if np.isnan(values).any() else found  # noqa: PLR0124 - only NaN differs from itself


def _taken(values: Values, places: Sequence[int]) -> Values:
    return values[np.asarray(places)] if isinstance(values, np.ndarray) else [values[place] for place in places]


def _not_object(index: int, wanted: Sequence[str]) -> InvalidInput:
    return InvalidInput(
        "scoring.row_not_object",
        f"row {index} is not an object of columns",
        remedy=f"Send each row as an object with {', '.join(wanted)}.",
        row=index,
    )


def _other_columns(row: Mapping[str, Any], index: int, wanted: Sequence[str], *, more: bool) -> InvalidInput:
    unknown = [] if more else [name for name in row if name not in wanted]
    code, what = ("scoring.unknown_column", "an unknown") if unknown else ("scoring.missing_column", "no")
    name = unknown[0] if unknown else next(name for name in wanted if name not in row)
    return InvalidInput(
        code,
        f"row {index} has {what} column {str(name)[:100]!r}",
        remedy=f"Send exactly these columns: {', '.join(wanted)}; null where there is no value.",
        row=index,
        column=str(name)[:100],
    )
