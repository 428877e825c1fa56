"""Wall clocks: which moments a clock on the wall of a time zone reads, on days when clocks change too."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from loopline.errors import InvalidInput

_SECOND = timedelta(seconds=1)


def known_zone(name: str) -> str:
    """The name of a time zone. Raises `InvalidInput` for one there is not."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(
            "calendar.unknown_zone", f"no time zone is called {name!r}", remedy='Write e.g. "Europe/Berlin" or "UTC".'
        ) from error
    return name


def moment(wall: datetime, zone: ZoneInfo, *, last: bool = False) -> datetime:
    """When (UTC) the clock reads `wall`: the first time it does, or the last; the change itself where it never does."""
    first, second = _readings(wall, zone)
    if second < first:  # the hour was left out: the change lies between the two readings
        return _change(second, first, zone)
    return second if last else first


def moments(wall: datetime, zone: ZoneInfo) -> list[datetime]:
    """Every moment (UTC) at which the clock reads `wall`: none where that is left out, two where it repeats."""
    first, second = _readings(wall, zone)
    return [] if second < first else sorted({first, second})


def _readings(wall: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return first, second


def _change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    offset = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + ((after - before) / 2 // _SECOND) * _SECOND
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after
