"""Prediction records of a whole frame at once, for batch scoring and replay."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from loopline.errors import InvalidInput
from loopline.models.signature import Field, Signature
from loopline.scoring.contract import Contract
from loopline.scoring.record import COLUMNS, FEATURE_PREFIX, FEATURE_TYPES, TIME, prediction_schema
from loopline.scoring.treatment import Gaps, Imputed, Matrix


class Framed:
    """Rows that nobody waits for: given as a frame with every field. What would be refused of them is flagged."""

    refuses = False

    def __init__(self, frame: pl.DataFrame) -> None:
        self.gaps: Gaps = {}
        self._frame = frame

    @property
    def count(self) -> int:
        """The number of rows."""
        return self._frame.height

    def encode(self, contract: Contract) -> Matrix:
        """The matrix of a model's contract."""
        return contract.encode_frame(self._frame)

    def cell(self, index: int, name: str) -> Any:
        """The value of one field in one row, None where there is none."""
        return self._frame[name][index] if name in self._frame.columns else None

    def used(self, imputed: Imputed) -> pl.DataFrame:
        """The frame with what was imputed in its place."""
        return self._frame.with_columns(self._with(name, found) for name, found in imputed.items())

    def _with(self, name: str, found: Mapping[int, float | str]) -> pl.Series:
        held = self._frame[name].to_list() if name in self._frame.columns else [None] * self.count
        dtype = pl.String if isinstance(next(iter(found.values())), str) else pl.Float64
        return pl.Series(name, [found.get(row, value) for row, value in enumerate(held)], dtype=dtype, strict=False)


def frame_keys(frame: pl.DataFrame, name: str) -> pl.Series:
    """The key column. Raises `InvalidInput` where it is missing, not text, or has nulls."""
    keys = _column(frame, name)
    if keys.dtype != pl.String or keys.null_count():
        raise InvalidInput(
            "scoring.bad_key", f"column {name!r} must be text without nulls", remedy="Cast it to String.", column=name
        )
    return keys


def frame_times(frame: pl.DataFrame, name: str) -> pl.Series:
    """The time column in UTC microseconds. Raises `InvalidInput` where it is missing, has no zone, or has nulls."""
    times = _column(frame, name)
    if not isinstance(times.dtype, pl.Datetime) or times.dtype.time_zone is None or times.null_count():
        raise InvalidInput(
            "scoring.bad_time",
            f"column {name!r} must be times with a zone, without nulls",
            remedy='Say which zone it is in, e.g. .dt.replace_time_zone("UTC").',
            column=name,
        )
    return times.dt.cast_time_unit("us").dt.convert_time_zone("UTC")


def record_frame(
    frame: pl.DataFrame,
    signature: Signature,
    *,
    keys: pl.Series,
    times: pl.Series,
    columns: Mapping[str, Any],
    constants: Mapping[str, Any],
) -> pl.DataFrame:
    """Rows of the prediction table: `columns` by row, `constants` the same in every row, the rest null."""
    if frame.is_empty():
        return prediction_schema(signature).empty()
    system: list[pl.Series | pl.Expr] = [
        keys.alias("_key"),
        times.alias("_event_time"),
        pl.lit(constants["scored_at"], dtype=TIME).alias("_known_at"),
        pl.lit(value=False).alias("_tombstone"),
    ]
    own = [_own(name, dtype, columns, constants) for name, dtype in COLUMNS.items()]
    return frame.select(*system, *own, *(_feature(frame, field) for field in signature.fields))


def _own(name: str, dtype: Any, columns: Mapping[str, Any], constants: Mapping[str, Any]) -> pl.Series | pl.Expr:
    if name in columns:
        given = columns[name]
        return (
            given.cast(dtype).alias(name)
            if isinstance(given, pl.Series)
            else pl.Series(name, given, dtype, strict=False)
        )
    return pl.lit(constants.get(name), dtype=dtype).alias(name)


def _feature(frame: pl.DataFrame, field: Field) -> pl.Expr:
    dtype, name = FEATURE_TYPES[field.kind], FEATURE_PREFIX + field.name
    if field.name not in frame.columns:
        return pl.lit(None, dtype=dtype).alias(name)
    values = pl.col(field.name).cast(dtype)
    return (values.fill_nan(None) if field.kind == "number" else values).alias(name)


def _column(frame: pl.DataFrame, name: str) -> pl.Series:
    if name not in frame.columns:
        raise InvalidInput(
            "scoring.missing_column", f"the frame has no column {name!r}", remedy="Add it to the frame.", column=name
        )
    return frame[name]
