"""Times in a request."""

from datetime import datetime
from typing import Any

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
