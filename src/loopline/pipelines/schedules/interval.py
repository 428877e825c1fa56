"""Intervals: every six hours, every week, every month, counted from an anchor.

`s`, `m` and `h` are time that passes: every `6h` is six hours after the last, whatever clocks do. `d`, `w`, `mo` and `y` are
the calendar's: every `1d` is the same time on the wall of `zone` each day. There a time that is left out when clocks change
fires the moment they have, one that repeats fires the first time, and a day that a month does not have is its last.
"""

import calendar
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from loopline.errors import InvalidInput
from loopline.pipelines.schedules.policy import CatchUp, Policy, catching_up
from loopline.pipelines.schedules.wall import known_zone, moment
from loopline.values import duration

_CALENDAR = re.compile(r"([1-9]\d{0,3})(d|w|mo|y)")
_DAYS = {"d": 1, "w": 7}
_MONTHS = {"mo": 1, "y": 12}
_FIRST = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall clock
_MONDAY = datetime(1970, 1, 5)  # noqa: DTZ001 - a wall clock


class Interval(msgspec.Struct, frozen=True, tag="interval", kw_only=True, omit_defaults=True):
    """Fires every `period`, counted from `anchor` (wall clock in `zone`; empty: midnight of 1970-01-01, a Monday for weeks)."""

    period: str
    anchor: str = ""
    zone: str = "UTC"
    policy: Policy = Policy()
    params: dict[str, Any] = {}

    @property
    def sentence(self) -> str:
        """What it says, for people."""
        since = f" from {self.anchor}" if self.anchor else ""
        return f"every {self.period}{since} in {self.zone}"

    def after(self, at: datetime) -> Iterator[datetime]:
        """The moments (UTC) at which it fires after `at`, oldest first, each once; ends with the calendar."""
        number, last = self._near(at), at
        while True:
            try:
                fire = self._fire(number)
            except (OverflowError, ValueError):  # the year 10000
                return
            if fire > last:
                yield fire
                last = fire
            number += 1

    def _near(self, at: datetime) -> int:
        """The number of a fire that is not after `at`, and not long before."""
        zone = ZoneInfo(self.zone)
        wall, anchor = at.astimezone(zone).replace(tzinfo=None), self._anchor()
        count, unit = _split(self.period)
        if unit in _MONTHS:
            months = (wall.year - anchor.year) * 12 + wall.month - anchor.month
            return months // (count * _MONTHS[unit]) - 2
        if unit in _DAYS:
            return (wall - anchor) // timedelta(days=count * _DAYS[unit]) - 2
        return (at - moment(anchor, zone)) // duration(self.period)

    def _fire(self, number: int) -> datetime:
        zone, anchor = ZoneInfo(self.zone), self._anchor()
        count, unit = _split(self.period)
        if unit in _MONTHS:
            return moment(_months_on(anchor, number * count * _MONTHS[unit]), zone)
        if unit in _DAYS:
            return moment(anchor + number * timedelta(days=count * _DAYS[unit]), zone)
        return moment(anchor, zone) + number * duration(self.period)

    def _anchor(self) -> datetime:
        if self.anchor:
            return datetime.fromisoformat(self.anchor)
        return _MONDAY if _split(self.period)[1] == "w" else _FIRST


def _split(period: str) -> tuple[int, str]:
    found = _CALENDAR.fullmatch(period)
    return (int(found[1]), found[2]) if found else (0, "")


def _months_on(wall: datetime, months: int) -> datetime:
    year, month = divmod(wall.year * 12 + wall.month - 1 + months, 12)
    day = min(wall.day, calendar.monthrange(year, month + 1)[1])
    return wall.replace(year=year, month=month + 1, day=day)


def interval(
    period: str,
    *,
    anchor: str | datetime = "",
    zone: str = "UTC",
    catch_up: CatchUp = "all",
    within: str = "",
    params: dict[str, Any] | None = None,
) -> Interval:
    """Execute a pipeline every `period`: `"15m"`, `"6h"`, or of the calendar `"1d"`, `"1w"`, `"1mo"`, `"1y"`.

    It is counted from `anchor`, such as `"2026-01-31 06:00"` on a clock in `zone`, or a datetime with its zone; from midnight
    of 1970 without one, from a Monday where weeks are counted. What was missed is as for `cron`. Raises `InvalidInput`.
    """
    if not _CALENDAR.fullmatch(period) and duration(period) < timedelta(seconds=1):
        raise InvalidInput(
            "schedule.empty_period", f"every {period!r} holds no time", remedy='Write e.g. "6h" or "1mo".'
        )
    return Interval(
        period=period,
        anchor=_wall(anchor, ZoneInfo(known_zone(zone))),
        zone=zone,
        policy=catching_up(catch_up, within),
        params=dict(params or {}),
    )


def _wall(anchor: str | datetime, zone: ZoneInfo) -> str:
    try:
        read = datetime.fromisoformat(anchor) if isinstance(anchor, str) and anchor else anchor
    except ValueError as error:
        raise InvalidInput(
            "schedule.bad_anchor", f"anchor={anchor!r} is no time", remedy='Write e.g. "2026-01-31 06:00".'
        ) from error
    if not isinstance(read, datetime):
        return ""
    local = read.astimezone(zone).replace(tzinfo=None) if read.tzinfo else read
    return local.isoformat(sep=" ", timespec="seconds")
