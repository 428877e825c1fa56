"""Times in a request."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.values import from_micros, utc


def moment(value: Any, index: int, name: str) -> datetime:
    """The time (UTC) in column `name` of row `index`: ISO 8601 with a zone, whole microseconds since 1970 UTC, or aware.

    Raises `InvalidInput` "scoring.bad_time".
    """
    try:
        if type(value) is str:
            return utc(datetime.fromisoformat(value))
        if type(value) is int:
            return from_micros(value)
        if isinstance(value, datetime):
            return utc(value)
    except (ValueError, OverflowError, InvalidInput):
        pass
    raise InvalidInput(
        "scoring.bad_time",
        f"row {index}: {name!r} is not a time with a zone",
        remedy='Send ISO 8601 with a zone, e.g. "2026-05-01T12:00:00Z", or whole microseconds since 1970 in UTC.',
        row=index,
        column=name,
    )


def moments(values: Sequence[Any] | npt.NDArray[Any], name: str) -> list[datetime]:
    """The times (UTC) in a column, as `moment` reads each."""
    found = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if len(found) > 1 and type(found[0]) is datetime and found.count(found[0]) == len(found):
        return [utc(found[0])] * len(found)
    return [moment(value, index, name) for index, value in enumerate(found)]
