"""The domain clock: what time it is for the loop. The real one, or one that a replay turns.

Leases use the database's time, durations use `time.perf_counter`; neither belongs here.
"""

from datetime import UTC, datetime
from typing import Protocol

from loopline.errors import InvalidInput
from loopline.values import utc


class Clock(Protocol):
    """Tells the domain's time, always UTC."""

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class ReplayClock:
    """A clock that stands still until it is turned, and never goes back."""

    def __init__(self, start: datetime) -> None:
        self._now = utc(start)

    def now(self) -> datetime:
        return self._now

    def turn_to(self, moment: datetime) -> None:
        """Set the time. Raises `InvalidInput` for a moment before the present one."""
        if utc(moment) < self._now:
            raise InvalidInput(
                "clock.backwards", f"the clock stands at {self._now.isoformat()}, not before {moment.isoformat()}"
            )
        self._now = utc(moment)


class ContinuingClock:
    """A clock that stood at `start` when it was made and goes on at the real pace: operating what a replay left behind."""

    def __init__(self, start: datetime) -> None:
        self._behind = datetime.now(UTC) - utc(start)

    def now(self) -> datetime:
        return datetime.now(UTC) - self._behind
