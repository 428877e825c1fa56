"""Rows that a step says are wrong, set aside so that it can go on with the rest."""

from typing import Any

import polars as pl

from loopline.errors import BadRows, InvalidInput


def set_aside(frame: Any, error: BadRows) -> tuple[Any, Any]:
    """The rows of a frame (Polars, or pandas) to go on with, and those set aside, each in their order.

    Raises `InvalidInput` where it is no frame, no row is named, all are, or one is not there: then setting aside is no remedy.
    """
    height = len(frame) if isinstance(frame, pl.DataFrame) or _of_pandas(frame) else 0
    wrong = [row for row in error.rows if not 0 <= row < height]
    if not height or wrong or not 0 < len(error.rows) < height:
        told = (
            "it is no frame with rows"
            if not height
            else f"row {wrong[0]} of {height} is not there"
            if wrong
            else f"{len(error.rows)} of {height} are wrong"
        )
        raise InvalidInput(
            "rows.cannot_set_aside",
            f"{error.parameter}: {told}",
            remedy="Name rows by their positions, and use another remedy where none is left.",
        )
    if not isinstance(frame, pl.DataFrame):
        named = set(error.rows)
        return frame.iloc[[row for row in range(height) if row not in named]], frame.iloc[error.rows]
    bad = pl.int_range(height, eager=True).is_in(error.rows)
    return frame.filter(~bad), frame.filter(bad)


def _of_pandas(value: Any) -> bool:
    kind = type(value)
    return kind.__module__.partition(".")[0] == "pandas" and kind.__name__ in {"DataFrame", "Series"}
