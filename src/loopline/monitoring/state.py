"""What a monitor knows, and how it moves with one block. Pure: no clock, no chance, no database."""

from datetime import datetime
from typing import Any

import msgspec

from loopline.evidence import e_sr
from loopline.monitoring.block import BlockSummary, merge
from loopline.monitoring.dependence import place_of
from loopline.monitoring.risk import Reference, Risk, bet


class Onset(msgspec.Struct, frozen=True):
    """The likely start of what is going on now: the last time that the excess looked no worse than allowed.

    `drift` is the sum of excesses above what is allowed since then, floored at 0 (Page, Continuous inspection schemes,
    1954).
    """

    at: datetime | None = None
    blocks: int = 0
    excess: float = 0.0
    drift: float = 0.0


class MonitorState(msgspec.Struct, frozen=True):
    """A monitor between two blocks. `pending` gathers rows until there are enough of them; `last` is where the newest block ended and how
    far it lay above what is allowed, which the next one may have from it; `spread` how far the newest one's mean varies by chance that is known.
    `memory` is what a custom monitor remembers of the blocks it saw.
    """

    process: e_sr.ESR = e_sr.ESR()
    pending: BlockSummary | None = None
    onset: Onset = Onset()
    blocks: int = 0
    alarms: int = 0
    last: tuple[datetime, float] | None = None
    spread: float = 0.0
    memory: Any = None


class HarmEvidence(msgspec.Struct, frozen=True):
    """Why an alarm was raised: the evidence against its threshold, and what happened since the likely onset.

    It began likely no earlier than `onset_earliest` and no later than `onset_latest`, where earlier blocks are at hand to tell.
    """

    log_evidence: float
    log_threshold: float
    excess: float
    allowed: float
    reference: float
    tolerance: float
    onset: datetime
    blocks_since_onset: int
    excess_since_onset: float
    sentence: str
    onset_earliest: datetime | None = None
    onset_latest: datetime | None = None


class Observed(msgspec.Struct, frozen=True):
    """The state after a block, and the evidence where that raised an alarm."""

    state: MonitorState
    harm: HarmEvidence | None = None


def observe(risk: Risk, reference: Reference, state: MonitorState, block: BlockSummary) -> Observed:
    """Move the monitor by one block. After an alarm it starts again from nothing."""
    gathered = merge(state.pending, block) if state.pending else block
    if gathered.labelled < risk.min_rows:
        return Observed(msgspec.structs.replace(state, pending=gathered))
    terms, allowed = bet(risk, reference, gathered.spread), reference.upper + risk.tolerance
    excess = out_of_season(risk, reference, gathered)
    carried = reference.carry * state.last[1] if state.last and state.last[0] == gathered.start else 0.0
    process = e_sr.update(state.process, terms.observation(excess - carried), terms.mean)
    onset = _onset(state.onset, gathered, excess, allowed)
    last = (gathered.end, excess - allowed) if reference.carry else None
    moved = MonitorState(process, None, onset, state.blocks + 1, state.alarms, last, gathered.spread)
    if not process.alarms(risk.threshold):
        return Observed(moved)
    restarted = MonitorState(blocks=moved.blocks, alarms=moved.alarms + 1, last=last, spread=moved.spread)
    return Observed(restarted, _evidence(risk, reference, moved, gathered, excess))


def out_of_season(risk: Risk, reference: Reference, block: BlockSummary) -> float:
    """The block's excess without what its season adds."""
    season = reference.season
    return block.excess(risk) - (season[place_of(block.start, risk.block, len(season))] if season else 0.0)


def _onset(onset: Onset, block: BlockSummary, excess: float, allowed: float) -> Onset:
    drift = onset.drift + excess - allowed
    if drift <= 0:
        return Onset()
    return Onset(onset.at or block.start, onset.blocks + 1, onset.excess + excess, drift)


def _evidence(
    risk: Risk, reference: Reference, state: MonitorState, block: BlockSummary, excess: float
) -> HarmEvidence:
    onset = state.onset if state.onset.blocks else Onset(block.start, 1, excess)
    found = HarmEvidence(
        log_evidence=state.process.log_evidence,
        log_threshold=e_sr.log_threshold(risk.threshold),
        excess=excess,
        allowed=reference.upper + risk.tolerance,
        reference=reference.mean,
        tolerance=risk.tolerance,
        onset=onset.at or block.start,
        blocks_since_onset=onset.blocks,
        excess_since_onset=onset.excess / onset.blocks,
        sentence="",
    )
    return _told(risk, found)


def with_interval(risk: Risk, found: HarmEvidence, earliest: datetime, latest: datetime) -> HarmEvidence:
    """The evidence with the interval of its onset."""
    return _told(risk, msgspec.structs.replace(found, onset_earliest=earliest, onset_latest=latest))


def _told(risk: Risk, found: HarmEvidence) -> HarmEvidence:
    """With its sentence."""
    mean, reference = found.excess_since_onset, found.reference
    earliest, latest = found.onset_earliest, found.onset_latest
    likely = f" (between {earliest:%Y-%m-%d %H:%M} and {latest:%Y-%m-%d %H:%M})" if earliest != latest else ""
    sentence = (
        f"Since about {found.onset:%Y-%m-%d %H:%M} UTC{likely} the {risk.loss} lies {mean - reference:.4g} above what the model "
        f"promised ({mean:.4g} against {reference:.4g}, measured from its baseline), over {found.blocks_since_onset} blocks."
    )
    return msgspec.structs.replace(found, sentence=sentence)
