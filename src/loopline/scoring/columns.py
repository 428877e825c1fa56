"""The rows of a request as columns, however they came: as objects, as tensors, as a table."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput

Values = Sequence[Any] | npt.NDArray[Any]


class Columns(dict[str, Values]):
    """Values by name, `count` of each; a numpy array of shape (count,) where they came as one, else a list.

    In a list None is a missing value, in an array NaN. `typed` says that whoever read them made sure that every number is a float or
    None, and every category text or None. `matrix` names columns that came together as one array of numbers (count, names), and
    holds it: its columns are among the values.
    """

    __slots__ = ("count", "matrix", "typed")

    def __init__(
        self,
        values: Mapping[str, Values],
        count: int,
        *,
        typed: bool = False,
        matrix: tuple[tuple[str, ...], npt.NDArray[Any]] | None = None,
    ) -> None:
        super().__init__(values)
        self.count = count
        self.typed = typed
        self.matrix = matrix

    def taken(self, places: Sequence[int]) -> "Columns":
        """The rows at `places`, in that order."""
        return Columns({name: _taken(values, places) for name, values in self.items()}, len(places), typed=self.typed)


def columns_of(
    rows: Sequence[Any], wanted: Sequence[str], *, optional: Sequence[str] = (), more: bool = False
) -> Columns:
    """The columns of rows that are objects with exactly the columns `wanted`. Those in `optional` may be missing, and are null then;
    `more` lets others through, and leaves them out.

    Raises `InvalidInput` naming the first wrong row: `scoring.row_not_object`, `scoring.unknown_column`, `scoring.missing_column`.
    """
    names = frozenset(wanted)
    for index, row in enumerate(rows):
        if type(row) is not dict and not isinstance(row, Mapping):
            raise _not_object(index, wanted)
        if row.keys() != names:
            _require(row, index, wanted, optional, more=more)
    if optional:
        return Columns({name: [row.get(name) for row in rows] for name in wanted}, len(rows))
    return Columns({name: [row[name] for row in rows] for name in wanted}, len(rows))


def require_columns(
    columns: Columns, wanted: Sequence[str], *, optional: Sequence[str] = (), more: bool = False
) -> None:
    """Raises `InvalidInput` as `columns_of` unless `columns` are those `wanted`."""
    _require(columns, 0, wanted, optional, more=more)


def _require(row: Mapping[str, Any], index: int, wanted: Sequence[str], optional: Sequence[str], *, more: bool) -> None:
    missing = [name for name in wanted if name not in row and name not in optional]
    if missing or (not more and not row.keys() <= frozenset(wanted)):
        raise _other_columns(row, index, wanted, missing, more=more)


def joined(parts: Sequence[Columns]) -> Columns:
    """The rows of `parts`, which have the same columns, one after the other."""
    first, count = parts[0], sum(part.count for part in parts)
    if first.matrix is None:
        values: dict[str, Values] = {
            name: list(chain.from_iterable([as_list(part[name]) for part in parts])) for name in first
        }
        return Columns(values, count, typed=first.typed)
    names = first.matrix[0]
    matrix = np.concatenate([part.matrix[1] for part in parts if part.matrix is not None])
    values = {
        name: list(chain.from_iterable([as_list(part[name]) for part in parts])) for name in first if name not in names
    }
    values |= {name: matrix[:, place] for place, name in enumerate(names)}
    return Columns(values, count, typed=first.typed, matrix=(names, matrix))


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


def _other_columns(
    row: Mapping[str, Any], index: int, wanted: Sequence[str], missing: Sequence[str], *, more: bool
) -> InvalidInput:
    unknown = [] if more else [name for name in row if name not in wanted]
    code, what = ("scoring.unknown_column", "an unknown") if unknown else ("scoring.missing_column", "no")
    name = unknown[0] if unknown else missing[0]
    return InvalidInput(
        code,
        f"row {index} has {what} column {str(name)[:100]!r}",
        remedy=f"Send exactly these columns: {', '.join(wanted)}; null where there is no value.",
        row=index,
        column=str(name)[:100],
    )
