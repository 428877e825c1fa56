"""Profiles kept by block, and the alarm for data faults found in one."""

from collections.abc import Sequence
from datetime import datetime
from functools import reduce

import msgspec

from loopline.errors import NotFound
from loopline.monitoring import store
from loopline.monitoring.alarm import Alarm, new_alarm, raise_alarm
from loopline.monitoring.alarm_kinds import DATA_FAULT
from loopline.monitoring.profile import Profile, merge
from loopline.monitoring.quality import DataFault
from loopline.storage.database import Transaction
from loopline.values import Window, utc


def keep_profile(tx: Transaction, *, project: str, model: str, window: Window, profile: Profile) -> None:
    """Keep the profile of the block's inputs. Kept again, it replaces the one of that block."""
    store.write_profile(
        tx,
        {
            "project": project,
            "model": model,
            "block_start": window.start,
            "block_end": window.end,
            "counts": profile,
        },
    )


def read_profile(tx: Transaction, *, project: str, model: str, window: Window) -> Profile:
    """The profile of all blocks that end within the window. Raises `NotFound` where there is none."""
    rows = store.read_profiles(tx, project, model, window.start, window.end)
    if not rows:
        raise NotFound(
            "profile.none",
            f"no profile of {model!r} was kept in {window}",
            remedy="Ask for a window in which the model was scored.",
        )
    return reduce(merge, (msgspec.convert(row["counts"], Profile) for row in rows))


def raise_data_fault(
    tx: Transaction, *, project: str, model: str, window: Window, faults: Sequence[DataFault], at: datetime
) -> Alarm | None:
    """One alarm for the faults found in a block: not a page, as they may do no harm. None without faults.

    Raised again for the same block, it is the same alarm and nothing changes.
    """
    if not faults:
        return None
    alarm = new_alarm(
        project=project,
        model=model,
        monitor="data",
        kind=DATA_FAULT,
        at=utc(at),
        block_start=window.start,
        block_end=window.end,
        evidence={"faults": [msgspec.to_builtins(fault) for fault in faults]},
        page=False,
    )
    raise_alarm(tx, alarm)
    return alarm
