"""Cron: the five fields that everybody knows, read as wall clock in a time zone.

What happens when clocks change, as in Debian's cron: where minute and hour are both said (`"30 2 * * *"`), it fires once for
each such time: one that is left out fires the moment the clocks have changed, one that repeats fires the first time. Where
minute or hour begins with `*` (`"*/15 * * * *"`, `"30 * * * *"`), it fires whenever the clock reads a time that matches: not
in an hour that is left out, and again in one that repeats.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError

from loopline.errors import InvalidInput
from loopline.pipelines.schedules.policy import CatchUp, Policy, catching_up
from loopline.pipelines.schedules.wall import known_zone, moment, moments

_MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_FIELDS = 5
_SEARCHED = 50 * 366
_DAY = timedelta(days=1)
_ANY = datetime(2024, 1, 1, tzinfo=UTC)


class Cron(msgspec.Struct, frozen=True, tag="cron", kw_only=True, omit_defaults=True):
    """Fires when a clock in `zone` reads what the `expression` says."""

    expression: str
    zone: str = "UTC"
    policy: Policy = Policy()
    params: dict[str, Any] = {}

    @property
    def sentence(self) -> str:
        """What it says, for people."""
        return f"cron {self.expression} in {self.zone}"

    def after(self, at: datetime) -> Iterator[datetime]:
        """The moments (UTC) at which it fires after `at`, oldest first, each once; ends where there is none in fifty years."""
        parsed, zone = CronSim(self.expression, _ANY), ZoneInfo(self.zone)
        fixed = not any(field.startswith("*") for field in self.expression.split()[:2])
        walls = tuple(time(hour, minute) for hour in sorted(parsed.hours) for minute in sorted(parsed.minutes))
        first, idle = at.astimezone(zone).date() - _DAY, 0
        pending: list[datetime] = []
        for number in count():
            day = first + number * _DAY
            found = _fires(day, walls, self.zone, fixed) if _matches(parsed, day) else ()
            pending = sorted({*pending, *(fire for fire in found if fire > at)})
            # Clocks that are set back over midnight read the end of a day again after the next has begun.
            begun = moment(datetime.combine(day + _DAY, time()), zone)
            ready = [fire for fire in pending if fire < begun]
            yield from ready
            pending = pending[len(ready) :]
            idle = 0 if found else idle + 1
            if idle > _SEARCHED:
                return


def _matches(parsed: CronSim, day: date) -> bool:
    return day.month in parsed.months and parsed.match_day(day)


@lru_cache(maxsize=256)
def _fires(day: date, walls: tuple[time, ...], zone_name: str, fixed: bool) -> tuple[datetime, ...]:  # noqa: FBT001 - the cache takes positions
    zone, readings = ZoneInfo(zone_name), [datetime.combine(day, wall) for wall in walls]
    if fixed:
        return tuple(sorted({moment(reading, zone) for reading in readings}))
    return tuple(sorted({found for reading in readings for found in moments(reading, zone)}))


def cron(
    expression: str,
    *,
    zone: str = "UTC",
    catch_up: CatchUp = "all",
    within: str = "",
    params: dict[str, Any] | None = None,
) -> Cron:
    """Execute a pipeline when a clock in `zone` reads `expression`: minute, hour, day of month, month, day of week.

    `"0 6 * * MON-FRI"` is six in the morning on working days; `@daily` and its like are known; `L` is the last day of a month,
    `MON#2` the second Monday. What ticks missed while everything was down come to, `catch_up` and `within` say: see `Policy`.
    `params` are what the pipeline is called with. Raises `InvalidInput` for what cannot be read and for an unknown zone.
    """
    read = " ".join(_MACROS.get(expression.strip(), expression).split())
    try:
        if len(read.split(" ")) != _FIELDS:
            raise CronSimError("Wrong number of fields")  # noqa: TRY301 - told as the others are
        CronSim(read, _ANY)
    except CronSimError as error:
        raise InvalidInput(
            "schedule.bad_cron",
            f"{expression!r} is no cron expression: {str(error).lower()}",
            remedy='Write minute, hour, day of month, month, day of week, e.g. "0 6 * * MON-FRI".',
        ) from error
    made = Cron(expression=read, zone=known_zone(zone), policy=catching_up(catch_up, within), params=dict(params or {}))
    if next(made.after(_ANY), None) is None:
        raise InvalidInput("schedule.never", f"{expression!r} never fires", remedy="Name a day that some month has.")
    return made
