"""Rows that a step says are wrong, set aside so that it can go on with the rest."""

import polars as pl

from loopline.errors import BadRows, InvalidInput


def set_aside(frame: pl.DataFrame, error: BadRows) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows to go on with, and those set aside, each in their order.

    Raises `InvalidInput` where none is named, all are, or one is not there: then setting aside is no remedy.
    """
    wrong = [row for row in error.rows if not 0 <= row < frame.height]
    if wrong or not 0 < len(error.rows) < frame.height:
        told = (
            f"row {wrong[0]} of {frame.height} is not there"
            if wrong
            else f"{len(error.rows)} of {frame.height} are wrong"
        )
        raise InvalidInput(
            "rows.cannot_set_aside",
            f"{error.parameter}: {told}",
            remedy="Name rows by their positions, and use another remedy where none is left.",
        )
    bad = pl.int_range(frame.height, eager=True).is_in(error.rows)
    return frame.filter(~bad), frame.filter(bad)
