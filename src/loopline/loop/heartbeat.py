"""Signs of life: whether turns are completed in time, kept in the database for whoever watches from outside."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from loopline.loop import store
from loopline.storage.database import Transaction


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """How a loop in operation is, at the machine's time `at` (UTC). `well_at` is when it was last well."""

    loop: str
    at: datetime
    well: bool
    well_at: datetime | None
    sentence: str


def judge(
    tx: Transaction,
    loop: str,
    models: Sequence[str],
    *,
    turn: timedelta,
    late: timedelta,
    since: datetime,
    now: datetime,
) -> tuple[bool, str]:
    """Whether each model's last turn was completed within `turn` and `late`, and a sentence on it.

    A loop that began at `since` and has no turn yet is given as long. Times are the domain's.
    """
    rows = [store.last_turn(tx, loop, model) for model in models]
    ends = [max(row["window_end"], since - turn) if row else since - turn for row in rows]
    last = min(ends, default=since)
    number = min((row["number"] if row else 0 for row in rows), default=0)
    if now > last + turn + late:
        return False, f"no turn was completed since {last:%Y-%m-%d %H:%M} UTC (turn {number})"
    return True, f"turn {number} is the last"


def keep(tx: Transaction, loop: str, *, well: bool, sentence: str, at: datetime) -> Heartbeat:
    """Keep how the loop is."""
    before = next((one for one in heartbeats(tx) if one.loop == loop), None)
    well_at = at if well else (before.well_at if before else None)
    made = Heartbeat(loop=loop, at=at, well=well, well_at=well_at, sentence=sentence)
    store.put_heartbeat(tx, msgspec.structs.asdict(made))
    return made


def heartbeats(tx: Transaction) -> list[Heartbeat]:
    """The last sign of life of every loop that ever was in operation here."""
    return [Heartbeat(**row) for row in store.heartbeats(tx)]
