"""A study that goes on: the reference as it was kept, the blocks that were counted, and the new ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.app.alone.reference_rows import table_with_reference, with_reference
from loopline.app.study.answers import Setup
from loopline.app.study.causes import faults_by_stretch, look_at_inputs, reference_profile_of
from loopline.app.study.files import Table
from loopline.app.study.fresh import counted, cut_counted, mature, whole_blocks
from loopline.app.study.judged import losses_of_rows
from loopline.app.study.measure import Losses, Scale, Trial, episodes, loss_of, summaries, watch
from loopline.app.study.rows import Rows
from loopline.app.study.study import Study
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.dependence import of_season
from loopline.monitoring.due import due
from loopline.monitoring.performance import Performance
from loopline.monitoring.state import MonitorState
from loopline.monitoring.tally import Blocks, Sums
from loopline.values import MICROSECOND, duration, micros

Floats = npt.NDArray[np.float64]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Kept:
    """What was kept of a watched model: its setup, where the reference's rows lie and how they were cut, and the monitor."""

    setup: Setup
    reference: Path
    cut: Sequence[tuple[int, int]]
    state: MonitorState
    watermark: int
    counted: Sequence[Performance]
    alarms: Sequence[int]
    """Ends of the blocks that raised an alarm, microseconds."""


def study_again(kept: Kept, table: Table, rows: Rows, progress: Progress) -> tuple[Study, list[BlockSummary]]:
    """The study with the new blocks of these rows, and these blocks as the monitor takes them.

    Blocks up to the watermark count as they were counted, whatever the files say of them now.
    """
    setup = kept.setup
    own, ready = mature(setup.absent, rows, setup.matures)
    merged, first = with_reference(kept.reference, own, setup.reference_until)
    later = int(np.searchsorted(own.at[:ready], setup.reference_until, side="right"))
    fresh = _fresh_blocks(kept, merged, first + ready - later)
    blocks = _all_blocks(kept, merged, fresh)
    reference, before = len(kept.cut), len(kept.cut) + len(kept.counted)
    loss = loss_of(merged, setup.risk.loss)
    progress("losses")
    losses = losses_of_rows(merged, blocks, loss, msgspec.convert(setup.scale, Scale))
    together = table_with_reference(kept.reference, table, setup.columns.features) if setup.columns.features else table
    inputs = look_at_inputs(together, setup.columns.features, merged, blocks, reference, losses.scores, progress)
    profile = reference_profile_of(inputs)
    faults = faults_by_stretch(inputs, profile)
    owed = due(setup.promise, losses.base, losses.own, np.isin(inputs.stretch, list(faults)))
    given = summaries(merged, blocks, losses, owed, loss.name)[before:]
    losses, owed = _as_counted(kept, losses, owed, reference)
    trial = _trial(kept, losses, owed, given, reference, [start for start, _ in blocks.times()])
    found = episodes(trial, setup.reference, setup.reference.upper + setup.risk.tolerance, reference)
    waiting = len(merged) - max(first, int(np.searchsorted(merged.at, blocks.end[-1], side="right")))
    return Study(setup, merged, blocks, reference, losses, trial, found, inputs, profile, faults, waiting, first), given


def _fresh_blocks(kept: Kept, rows: Rows, ready: int) -> Blocks:
    """Blocks after the watermark that are over and have their labels."""
    begin = int(np.searchsorted(rows.at, kept.watermark, side="right"))
    length = duration(kept.setup.risk.block) // MICROSECOND
    if begin >= ready:
        return _placed(rows, [])
    found = cut_counted(rows, slice(begin, ready), length, kept.setup.risk.min_rows)
    ends = [(max(int(start), kept.watermark), int(end)) for start, end in zip(found.start, found.end, strict=True)]
    placed = _placed(rows, ends)
    earlier = _placed(rows, [(micros(one.block_start), micros(one.block_end)) for one in kept.counted])
    usual = whole_blocks(_joined([earlier, placed]), rows, kept.setup.matures, ready, strict=True)
    over = max(0, len(usual) - len(earlier))
    if over and placed.end[over - 1] > rows.at[ready - 1]:
        over -= 1
    return placed.part(0, over)


def _placed(rows: Rows, ends: Sequence[tuple[int, int]]) -> Blocks:
    """Blocks with the rows that lie in them."""
    start, end = (np.array([pair[side] for pair in ends], dtype=np.int64) for side in (0, 1))
    first, last = (np.searchsorted(rows.at, edge, side="right").astype(np.int64) for edge in (start, end))
    blocks = Blocks(start, end, first, last, np.zeros(len(start), dtype=np.int64))
    labelled, count = Sums(blocks), counted(rows)
    for part in rows.parts():
        labelled.add(part.start, count(part))
    return replace(blocks, labelled=labelled.total.astype(np.int64))


def _joined(parts: Sequence[Blocks]) -> Blocks:
    def both(name: str) -> npt.NDArray[np.int64]:
        return np.concatenate([getattr(part, name) for part in parts])

    return Blocks(both("start"), both("end"), both("first"), both("last"), both("labelled"))


def _all_blocks(kept: Kept, rows: Rows, fresh: Blocks) -> Blocks:
    history = [(micros(one.block_start), micros(one.block_end)) for one in kept.counted]
    return _joined([_placed(rows, kept.cut), _placed(rows, history), fresh])


def _as_counted(kept: Kept, losses: Losses, owed: Floats, reference: int) -> tuple[Losses, Floats]:
    """With the figures of counted blocks as they were when they were counted."""
    span = slice(reference, reference + len(kept.counted))
    units, loss, raw, owed = losses.units.copy(), losses.loss.copy(), losses.raw.copy(), owed.copy()
    units[span] = [one.labelled for one in kept.counted]
    loss[span] = [one.loss or 0.0 for one in kept.counted]
    raw[span] = [one.log_loss if one.log_loss is not None else one.loss or 0.0 for one in kept.counted]
    owed[span] = [one.baseline_loss or 0.0 for one in kept.counted]
    return replace(losses, units=units, loss=loss, raw=raw), owed


def _trial(
    kept: Kept,
    losses: Losses,
    owed: Floats,
    given: Sequence[BlockSummary],
    reference: int,
    starts: Sequence[datetime],
) -> Trial:
    fresh = watch(kept.setup.risk, kept.setup.reference, kept.state, given, 0, owed[len(owed) - len(given) :])
    evidence = np.concatenate([np.zeros(reference), [one.log_evidence for one in kept.counted], fresh.evidence])
    before = reference + len(kept.counted)
    ends = {micros(one.block_end): reference + place for place, one in enumerate(kept.counted)}
    alarms = [ends[end] for end in kept.alarms if end in ends] + [before + place for place in fresh.alarms]
    season = of_season(kept.setup.reference.season, starts, kept.setup.risk.block)
    return Trial(owed, season, losses.loss - owed - season, evidence, sorted(alarms), fresh.found, fresh.state)
