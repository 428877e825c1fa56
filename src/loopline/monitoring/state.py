"""What a monitor knows, and how it moves with one block. Pure: no clock, no chance, no database."""

from datetime import datetime

import msgspec

from loopline.evidence import e_sr
from loopline.monitoring.block import BlockSummary, merge
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
    """A monitor between two blocks. `pending` gathers rows until there are enough of them."""

    process: e_sr.ESR = e_sr.ESR()
    pending: BlockSummary | None = None
    onset: Onset = Onset()
    blocks: int = 0
    alarms: int = 0


class HarmEvidence(msgspec.Struct, frozen=True):
    """Why an alarm was raised: the evidence against its threshold, and what happened since the likely onset."""

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


class Observed(msgspec.Struct, frozen=True):
    """The state after a block, and the evidence where that raised an alarm."""

    state: MonitorState
    harm: HarmEvidence | None = None


def observe(risk: Risk, reference: Reference, state: MonitorState, block: BlockSummary) -> Observed:
    """Move the monitor by one block. After an alarm it starts again from nothing."""
    gathered = merge(state.pending, block) if state.pending else block
    if gathered.labelled < risk.min_rows:
        return Observed(msgspec.structs.replace(state, pending=gathered))
    terms, excess = bet(risk, reference), gathered.excess(risk)
    process = e_sr.update(state.process, terms.observation(excess), terms.mean)
    onset = _onset(state.onset, gathered, excess, reference.upper + risk.tolerance)
    moved = MonitorState(process, None, onset, state.blocks + 1, state.alarms)
    if not process.alarms(risk.threshold):
        return Observed(moved)
    restarted = MonitorState(blocks=moved.blocks, alarms=moved.alarms + 1)
    return Observed(restarted, _evidence(risk, reference, moved, gathered, excess))


def _onset(onset: Onset, block: BlockSummary, excess: float, allowed: float) -> Onset:
    drift = onset.drift + excess - allowed
    if drift <= 0:
        return Onset()
    return Onset(onset.at or block.start, onset.blocks + 1, onset.excess + excess, drift)


def _evidence(
    risk: Risk, reference: Reference, state: MonitorState, block: BlockSummary, excess: float
) -> HarmEvidence:
    onset = state.onset if state.onset.blocks else Onset(block.start, 1, excess)
    mean = onset.excess / onset.blocks
    since = onset.at or block.start
    return HarmEvidence(
        log_evidence=state.process.log_evidence,
        log_threshold=e_sr.log_threshold(risk.threshold),
        excess=excess,
        allowed=reference.upper + risk.tolerance,
        reference=reference.mean,
        tolerance=risk.tolerance,
        onset=since,
        blocks_since_onset=onset.blocks,
        excess_since_onset=mean,
        sentence=(
            f"Since about {since:%Y-%m-%d %H:%M} UTC the {risk.loss} lies {mean - reference.mean:.4g} above what the model "
            f"promised ({mean:.4g} against {reference.mean:.4g}, measured from its baseline), over {onset.blocks} blocks."
        ),
    )
