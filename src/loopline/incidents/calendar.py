"""Windows of local time: quiet hours, and times in which nothing is changed by itself. Right on days when clocks change.

A window covers every moment whose wall clock reads a time inside of it: where a clock is set back within a window, both
passes belong to it; where an hour is left out, a bound that lies in it means the moment the clocks changed.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from loopline.errors import InvalidInput
from loopline.pipelines.schedules.wall import known_zone, moment
from loopline.values import utc

Repeats = Literal["daily", "weekly", "once"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_WEEK = timedelta(days=7)
_DAY = timedelta(days=1)


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """From `start` to just before `end`, both read as wall clock in `zone`: every day, every week, or once."""

    start: str
    end: str
    zone: str = "UTC"
    repeats: Repeats

    def covering(self, at: datetime) -> tuple[datetime, datetime] | None:
        """Start and end (UTC) of the occurrence that covers the moment `at`; None where none does."""
        return next((found for found in self._near(utc(at)) if found[0] <= at < found[1]), None)

    def upcoming(self, at: datetime) -> tuple[datetime, datetime] | None:
        """Start and end (UTC) of the first occurrence that begins after `at`; None where none will."""
        return min((found for found in self._near(utc(at)) if found[0] > at), default=None)

    def _near(self, at: datetime) -> list[tuple[datetime, datetime]]:
        """The occurrences from about a period before `at` to about a period after."""
        zone = ZoneInfo(self.zone)
        begin, end = _wall(self.start), _wall(self.end)
        walls = [(begin, end)] if self.repeats == "once" else self._repeated(begin, end, at.astimezone(zone))
        spans = [(moment(first, zone), moment(last, zone, last=True)) for first, last in walls]
        return [(first, last) for first, last in spans if first < last]

    def _repeated(self, begin: datetime, end: datetime, local: datetime) -> list[tuple[datetime, datetime]]:
        period = _DAY if self.repeats == "daily" else _WEEK
        length = (end - begin) % period
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        passed = (midnight - begin.replace(hour=0, minute=0)) // period
        return [(begin + count * period, begin + count * period + length) for count in range(passed - 1, passed + 3)]


def span(start: str, end: str, zone: str = "UTC") -> Span:
    """`"22:00"` to `"07:00"` (every day), `"Fri 18:00"` to `"Mon 08:00"` (every week), or `"2026-12-20"` to
    `"2027-01-02 08:00"` (once; a day is its first midnight).

    Raises `InvalidInput` for what cannot be read, for bounds of two kinds, for no time between them, and for an unknown zone.
    """
    kinds = [_kind(start), _kind(end)]
    if kinds[0] != kinds[1]:
        raise InvalidInput(
            "calendar.mixed_bounds",
            f"{start!r} and {end!r} are bounds of two kinds",
            remedy='Write both as "22:00", both as "Fri 18:00", or both as dates.',
        )
    if _wall(start) == _wall(end) or (kinds[0] == "once" and _wall(start) > _wall(end)):
        raise InvalidInput(
            "calendar.empty", f"from {start!r} to {end!r} there is no time", remedy="Give a start before the end."
        )
    return Span(start=start, end=end, zone=known_zone(zone), repeats=kinds[0])


def first_covering(spans: Sequence[Span], at: datetime) -> tuple[datetime, datetime] | None:
    """The occurrence among all spans that covers `at` and ends last; None where none covers it."""
    return max((found for one in spans if (found := one.covering(at))), key=lambda found: found[1], default=None)


def _kind(text: str) -> Repeats:
    if _CLOCK.fullmatch(text):
        return "daily"
    day, _, clock = text.partition(" ")
    if day in _DAYS and _CLOCK.fullmatch(clock):
        return "weekly"
    if _DATE.fullmatch(day) and (not clock or _CLOCK.fullmatch(clock)):
        return "once"
    raise InvalidInput(
        "calendar.unreadable",
        f"{text!r} is no time of a calendar",
        remedy='Write "22:00", "Fri 18:00", "2026-12-20" or "2026-12-20 18:00".',
    )


def _wall(text: str) -> datetime:
    """The wall clock that a bound names, without a zone; in the first week of 2024, whose Monday is the first, unless dated."""
    day, _, clock = text.rpartition(" ") if " " in text or _CLOCK.fullmatch(text) else (text, "", "00:00")
    if _DATE.fullmatch(day):
        try:
            return datetime.fromisoformat(f"{day} {clock}")
        except ValueError as error:
            raise InvalidInput(
                "calendar.no_such_day", f"there is no day {day}", remedy="Write it as year-month-day."
            ) from error
    hour, minute = map(int, clock.split(":"))
    return datetime(2024, 1, 1 + (_DAYS.index(day) if day else 0), hour, minute)  # noqa: DTZ001 - a wall clock
