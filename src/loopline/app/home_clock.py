"""The clock of a home that holds a finished replay: it goes on from where the replay ended."""

from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import msgspec

from loopline.clock import SystemClock
from loopline.loop import store
from loopline.loop.resources import Resources
from loopline.storage.files import write_file
from loopline.values import MICROSECOND, utc


class _Anchor(msgspec.Struct, frozen=True):
    """How far the home's time lies behind the machine's, in microseconds."""

    behind: int


class HomeClock:
    """Stands at `ended` when any process of the home first asks it, and goes on at the real pace from then.

    How far it lies behind is kept in the home: `up`, `up` again and every command tell one time, and it never goes back.
    """

    def __init__(self, home: Path, ended: datetime) -> None:
        self._path, self._ended = home / "clock.json", utc(ended)

    def now(self) -> datetime:
        """The home's time, UTC."""
        return SystemClock().now() - self._behind

    @cached_property
    def _behind(self) -> timedelta:
        if not self._path.exists():
            behind = (SystemClock().now() - self._ended) // MICROSECOND
            write_file(self._path, msgspec.json.encode(_Anchor(behind)))
        return msgspec.json.decode(self._path.read_bytes(), type=_Anchor).behind * MICROSECOND


def replayed_until(resources: Resources, loop: str) -> datetime | None:
    """Where the replay's clock stood at its end; None where this home holds no replay of the loop."""
    with resources.database.reading() as tx:
        found = store.one_replay(tx, loop)
        if found is None or found["result"] is None:
            return None
        ends = [store.last_turn(tx, loop, result["comparison"]["model"]) for result in found["result"]]
    times: list[datetime] = [row["window_end"] for row in ends if row is not None]
    return max(times)


def replay_ended(resources: Resources) -> datetime | None:
    """The same for whatever loop this home holds a replay of."""
    with resources.database.reading() as tx:
        names = store.applied_loops(tx)
    ends = [ended for name in names if (ended := replayed_until(resources, name)) is not None]
    return max(ends, default=None)
