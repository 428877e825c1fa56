"""What a model takes: its fields in order, how each is encoded, and what the training rows held."""

from collections.abc import Set as AbstractSet
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput
from loopline.evaluation.kind import BINARY, Output

_TEXT = (pl.String, pl.Categorical, pl.Enum)


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One column of a model's matrix.

    `given` says who brings the value: the caller (True), or a look-up in the online store (False). The code of a category
    is its place in `categories`. `minimum` and `maximum` are those of the training rows, None for a category or where no
    row had a value (see `coarse`); `nulls` says whether training rows had nulls. `typical` is what stands in for a value: the lower
    median of the training rows or their most frequent category; None in packages that were made without.
    """

    name: str
    kind: Literal["number", "category"]
    given: bool
    categories: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    nulls: bool = False
    typical: float | str | None = None


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a model in the order of its matrix, and what it gives back."""

    fields: tuple[Field, ...]
    output: Output = BINARY

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the fields, in order."""
        return tuple(field.name for field in self.fields)

    def coarse(self, names: AbstractSet[str]) -> "Signature":
        """The same with the bounds of the fields `names` rounded outwards to two digits: an exact one is some person's value."""
        return msgspec.structs.replace(
            self, fields=tuple(_coarse(field) if field.name in names else field for field in self.fields)
        )

    def encode(self, frame: pl.DataFrame) -> npt.NDArray[np.float32]:
        """The matrix the model takes: float32, C-contiguous, shape (rows of `frame`, number of fields).

        Numbers are cast, booleans to 0 and 1; a category becomes its code; null, and a category the training rows did not
        have, become NaN. Other columns of `frame` are ignored. Raises `InvalidInput` where a column is missing or of a
        type its field does not take.
        """
        _require_columns(frame, self.names)
        matrix = np.empty((frame.height, len(self.fields)), dtype=np.float32)
        for place, field in enumerate(self.fields):
            matrix[:, place] = _codes(frame[field.name], field)
        return matrix


def infer(
    frame: pl.DataFrame, label: npt.ArrayLike | None, given: AbstractSet[str], output: Output = BINARY
) -> Signature:
    """The signature of training rows `frame`: one field per column, in the columns' order.

    Text columns (String, Categorical, Enum) are categories, the rest are numbers. With `label` (numbers or booleans, one
    per row) categories are ordered by their mean label, ties by name: for a binary target the best split of a category
    into two subsets is then one threshold on the code (Hastie, Tibshirani, Friedman: The Elements of Statistical Learning,
    2nd ed., 9.2.4). Without, and for several classes, they are ordered by name. `given` names the columns that the caller of
    the model sends, `output` says what the model gives back.

    Raises `InvalidInput` for infinite numbers, for types that are neither number nor text, for a label of another length
    and for names in `given` that `frame` lacks.
    """
    _require_columns(frame, sorted(given))
    ordered = label is not None and output.kind != "multiclass"
    target = _target(label, frame.height) if label is not None and ordered else None
    fields = tuple(_field(column, target, column.name in given) for column in frame.get_columns())
    return Signature(fields=fields, output=output)


def _field(column: pl.Series, target: pl.Series | None, given: bool) -> Field:  # noqa: FBT001 - a private call with one caller
    if column.dtype in _TEXT:
        return Field(
            name=column.name,
            kind="category",
            given=given,
            categories=_ordered_categories(column, target),
            nulls=column.null_count() > 0,
            typical=_most_frequent(column),
        )
    numbers = _as_numbers(column, pl.Float64).fill_nan(None)
    if numbers.is_infinite().any():
        raise InvalidInput(
            "signature.infinite",
            f"the training rows hold infinite values in {column.name!r}",
            remedy="Replace them with null, or look for a division by zero.",
            column=column.name,
        )
    low, high = numbers.min(), numbers.max()
    return Field(
        name=column.name,
        kind="number",
        given=given,
        minimum=_float(low),
        maximum=_float(high),
        nulls=numbers.null_count() > 0,
        typical=_float(numbers.quantile(0.5, "lower")),
    )


def _coarse(field: Field) -> Field:
    low, high = field.minimum, field.maximum
    if low is None or high is None:
        return field
    typical = float(f"{field.typical:.2g}") if isinstance(field.typical, float) else field.typical
    return msgspec.structs.replace(
        field, minimum=_outwards(low, ROUND_FLOOR), maximum=_outwards(high, ROUND_CEILING), typical=typical
    )


def _outwards(value: float, rounding: str) -> float:
    """Two digits, by decimals: dividing floats could round the wrong way first."""
    if not value:
        return value
    exact = Decimal(value)
    return float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - 1), rounding=rounding))


def _most_frequent(column: pl.Series) -> str | None:
    """The category that most rows have; of several the first by name."""
    counts = column.cast(pl.String).alias("name").drop_nulls().value_counts(name="rows")
    return counts.sort("rows", "name", descending=[True, False])["name"].first() if counts.height else None  # type: ignore[return-value]


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _ordered_categories(column: pl.Series, target: pl.Series | None) -> tuple[str, ...]:
    names = column.cast(pl.String).alias("name")
    if target is None:
        return tuple(names.drop_nulls().unique().sort())
    rows = pl.DataFrame([names, target.alias("label")]).drop_nulls("name")
    means = rows.group_by("name").agg(pl.col("label").mean()).sort("label", "name")
    return tuple(means["name"])


def _target(label: npt.ArrayLike, height: int) -> pl.Series:
    values = np.asarray(label, dtype=np.float64)
    if values.shape != (height,):
        raise InvalidInput(
            "signature.label_length",
            f"there are {height} rows but the label's shape is {values.shape}",
            remedy="Give one label per row.",
        )
    return pl.Series("label", values)


def _codes(column: pl.Series, field: Field) -> npt.NDArray[np.float32]:
    if field.kind == "number":
        return _as_numbers(column, pl.Float32).fill_null(float("nan")).to_numpy()
    if column.dtype not in (*_TEXT, pl.Null):
        raise _wrong_type(column, "text")
    known = column.cast(pl.String).cast(pl.Enum(field.categories), strict=False)
    return known.to_physical().cast(pl.Float32).fill_null(float("nan")).to_numpy()


def _as_numbers(column: pl.Series, dtype: type[pl.Float32 | pl.Float64]) -> pl.Series:
    if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        raise _wrong_type(column, "a number")
    return column.cast(dtype)


def _wrong_type(column: pl.Series, wanted: str) -> InvalidInput:
    return InvalidInput(
        "signature.wrong_type",
        f"column {column.name!r} is {column.dtype}, but the field takes {wanted}",
        remedy="Cast the column; a time becomes a number by e.g. .dt.hour().",
        column=column.name,
        dtype=str(column.dtype),
    )


def _require_columns(frame: pl.DataFrame, names: list[str] | tuple[str, ...]) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise InvalidInput(
            "signature.missing_columns",
            f"the rows lack {', '.join(missing)}",
            remedy="Give every field of the signature as a column.",
            missing=missing,
        )
