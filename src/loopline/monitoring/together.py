"""Monitors that share one budget, such as those of groups: which of them e-BH names, where none alone has enough.

With K monitors and A blocks between two alarms of all, each alarms by itself at M >= K A; r of them that have M >= K A / r are named together. They begin
again at nothing, so that an alarm of however many takes K A out of the sum of all M, as in `slice_risk`: the false alarms of all stay within their budget.

Wang and Ramdas, False discovery rate control with e-values, JRSS B 84, 2022.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec

from loopline.evidence import e_sr
from loopline.evidence.e_bh import rejected
from loopline.monitoring import watch
from loopline.monitoring.alarm import Alarm, new_alarm, raise_alarm
from loopline.monitoring.performance import Performance, read_performance
from loopline.monitoring.state import HarmEvidence, MonitorState
from loopline.monitoring.watch import LOOK_BACK, Monitor
from loopline.storage.database import Transaction
from loopline.values import duration, utc

Told = Callable[[HarmEvidence], str]
_MOST = 0.5


def name_together(
    tx: Transaction, *, project: str, model: str, told: Mapping[str, Told], at: datetime, kind: str, page: bool
) -> list[Alarm]:
    """Raise an alarm of each of these monitors (the keys of `told`, which say in words what an alarm's evidence is) that e-BH names; it begins again
    from nothing, so that doing this again changes nothing.

    Each has the same share of one budget. Raises `NotFound`.
    """
    together = [watch.lock_monitor(tx, project, model, name) for name in sorted(told)]
    if not together:
        return []
    rate = min(len(together) / together[0].spec.threshold, _MOST)
    named = [together[place] for place in rejected([one.state.process.log_m for one in together], rate)]
    raised = []
    for one in named:
        last = _last(tx, one)
        if last is None:
            continue
        found = _evidence(one, last, len(named))
        found = msgspec.structs.replace(found, sentence=told[one.name](found))
        watch.write_state(tx, one, _begun_again(one.state))
        alarm = new_alarm(
            project=project,
            model=model,
            monitor=one.name,
            kind=kind,
            at=utc(at),
            block_start=last.block_start,
            block_end=last.block_end,
            evidence=msgspec.to_builtins(found),
            page=page,
        )
        raised += [alarm] if raise_alarm(tx, alarm) else []
    return raised


def _last(tx: Transaction, one: Monitor) -> Performance | None:
    since = one.watermark - LOOK_BACK * duration(one.spec.block)
    rows = [
        row for row in read_performance(tx, one.project, one.model, one.name, start=since) if row.excess is not None
    ]
    return rows[-1] if rows else None


def _evidence(one: Monitor, last: Performance, named: int) -> HarmEvidence:
    onset, excess = one.state.onset, last.excess or 0.0
    return HarmEvidence(
        log_evidence=one.state.process.log_evidence,
        log_threshold=e_sr.log_threshold(one.spec.threshold / named),
        excess=excess,
        allowed=one.allowed,
        reference=one.reference.mean,
        tolerance=one.spec.tolerance,
        onset=onset.at or last.block_start,
        blocks_since_onset=max(onset.blocks, 1),
        excess_since_onset=onset.excess / onset.blocks if onset.blocks else excess,
        sentence="",
    )


def _begun_again(state: MonitorState) -> MonitorState:
    return MonitorState(
        pending=state.pending, blocks=state.blocks, alarms=state.alarms + 1, last=state.last, spread=state.spread
    )
