"""Rows become blocks with their losses, and what was due; the monitor moves over them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.app.study.rows import Margins, Rows, fit_margins, out_of_range
from loopline.errors import InvalidInput
from loopline.evaluation.calibration import LogisticCalibrator, fit_logistic
from loopline.evaluation.kind import Output
from loopline.evaluation.losses import Loss, losses_of, require_fit
from loopline.monitoring import due as accounts
from loopline.monitoring.block import BlockSummary
from loopline.monitoring.dependence import of_season
from loopline.monitoring.due import Promise, own_account, promise_of
from loopline.monitoring.episode import Episode, find_episode
from loopline.monitoring.level import at_block_level
from loopline.monitoring.risk import MIN_REFERENCE_BLOCKS, Reference, Risk
from loopline.monitoring.state import HarmEvidence, MonitorState, observe
from loopline.monitoring.tally import Blocks, Sums
from loopline.values import from_micros

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

REFERENCE_SHARE = 0.3
ENOUGH_BLOCKS = 14
TOLERANCE_SHARE = 0.02
LEAST_TOLERANCE = 1e-9
_FITTED_ON = 500_000


class Scale(msgspec.Struct, frozen=True):
    """How scores are read: the line that makes margins probabilities, the one that makes probabilities honest, and whether each
    block's level is taken out before its loss is measured; and how far a judge of every row is trusted.
    """

    margins: Margins | None
    calibrator: LogisticCalibrator | None
    level_free: bool = False
    trust: float | None = None


@dataclass(frozen=True)
class Losses:
    """The loss of each row, its own account of it, and the same by block.

    `rows` (rows,) is 0 where nothing is judged; `judged` says where. `scores` are the outputs that are judged. The rest has shape
    (blocks,): `loss`, `base` and `own` are means over `units`; `own` is None where scores expect nothing; `raw` is the
    loss with the level of each block left in.
    """

    scores: Floats
    rows: Floats
    judged: Mask
    own_rows: Floats | None
    units: Floats
    loss: Floats
    base: Floats
    own: Floats | None
    raw: Floats


@dataclass(frozen=True)
class Trial:
    """What the monitor saw of blocks: the loss that was `owed` in each by the accounts, what its season adds, the excess above both, and the
    evidence after it.

    All arrays have the length of the blocks; evidence is 0 in the reference. `alarms` are places of blocks.
    """

    owed: Floats
    season: Floats
    excess: Floats
    evidence: Floats
    alarms: list[int]
    found: list[HarmEvidence]
    state: MonitorState

    @property
    def due(self) -> Floats:
        """The loss that was due in each block."""
        return self.owed + self.season


def output_of(rows: Rows) -> Output:
    """What the model gives back."""
    kind = rows.kind
    return Output(
        kind,  # type: ignore[arg-type]
        rows.classes if kind == "multiclass" else (),
        rows.levels if kind == "quantile" else (),
    )


def loss_of(rows: Rows, name: str) -> Loss:
    """The loss that was asked for, or that of the kind; classes that were chosen outright are only right or wrong.

    Raises `NotFound` and `InvalidInput` for one that does not judge such models.
    """
    return require_fit(name or ("zero_one" if rows.hard else losses_of(rows.kind)[0]), output_of(rows))  # type: ignore[arg-type]


def fit_scale(rows: Rows, until: int) -> Scale:
    """How scores are to be read, learnt from the labelled rows up to place `until`."""
    if rows.kind != "binary" or rows.hard:
        return Scale(None, None)
    step = max(1, rows.count(rows.known_in, 0, until) // _FITTED_ON)
    places = rows.every(step, rows.known_in, 0, until)
    scores, labels = rows.taken(rows.outputs, places), rows.taken(rows.label, places)
    margins = fit_margins(scores, labels) if out_of_range(rows) else None
    return Scale(margins, fit_logistic(margins.apply(scores) if margins else scores, labels))


def lose(rows: Rows, blocks: Blocks, loss: Loss, scale: Scale) -> Losses:
    """The losses of all rows, summed by block; 0 in a block without a judged row."""
    groups = _groups(rows)
    parts = [slice(0, len(rows))] if groups is not None else rows.parts()
    if scale.level_free:
        parts = blocks.whole(len(rows), rows.shelf.part)
    units, lost, raw, owned, positives = (Sums(blocks) for _ in range(5))

    def pieces() -> Iterator[list[npt.NDArray[Any]]]:
        for part in parts:
            one = _lost(rows, part, blocks, loss, scale, groups)
            units.add(part.start, one.judged)
            lost.add(part.start, one.lost)
            raw.add(part.start, one.raw)
            positives.add(part.start, np.where(one.judged, rows.label[part], 0.0))
            kept = [one.lost, one.judged]
            if one.own is not None:
                owned.add(part.start, one.own)
                kept.append(one.own)
            yield [*kept, one.scores] if scale.margins else kept

    by_row, judged, *more = rows.shelf.keep(pieces())
    scores = more.pop() if scale.margins else rows.outputs
    each = np.maximum(units.total, 1.0)
    return Losses(
        scores=scores,
        rows=by_row,
        judged=judged,
        own_rows=more[0] if more else None,
        units=units.total,
        loss=lost.total / each,
        base=_base(rows, blocks, loss, scores, judged, positives.total / each),
        own=owned.total / each if more else None,
        raw=raw.total / each,
    )


@dataclass(frozen=True)
class _Lost:
    """Losses of some rows, 0 where nothing is judged: with the level of each block as `scale` says, and `raw` with it left in."""

    scores: Floats
    judged: Mask
    raw: Floats
    lost: Floats
    own: Floats | None


def _lost(rows: Rows, part: slice, blocks: Blocks, loss: Loss, scale: Scale, groups: npt.NDArray[Any] | None) -> _Lost:
    scores, label = rows.outputs[part], rows.label[part]
    scores = scale.margins.apply(scores) if scale.margins else scores
    raw = loss.rows(scores, label, groups)
    judged = ~np.isnan(raw)
    raw, lost = np.where(judged, raw, 0.0), raw
    told, sure = scores, scores if scale.calibrator is None else scale.calibrator.apply(scores)
    if scale.level_free:
        inside = blocks.within(part.start, part.stop)
        told, sure = (at_block_level(one, label, judged, inside) for one in (scores, sure))
        lost = loss.rows(told, label)
    lost = np.where(judged, lost, 0.0)
    own = own_account(loss, told, sure) if rows.kind in {"binary", "multiclass"} and not rows.hard else None
    return _Lost(scores, judged, raw, lost, None if own is None else np.where(judged, own, 0.0))


def _groups(rows: Rows) -> npt.NDArray[Any] | None:
    return None if rows.group is None else rows.group.codes


def _base(rows: Rows, blocks: Blocks, loss: Loss, scores: Floats, judged: Mask, rates: Floats) -> Floats:
    """The mean loss of each block's own best constant; `rates` is the mean label of each."""
    if loss.of_base_rate is not None and rows.kind == "binary":
        return np.array([loss.of_base_rate(float(rate)) for rate in rates])
    groups = _groups(rows)

    def of_block(first: int, last: int) -> float:
        cut = slice(first, last)
        rows.shelf.let_go()
        if not judged[cut].any():
            return 0.0
        label = rows.label[cut] if loss.grouped else np.where(judged[cut], rows.label[cut], np.nan)
        return float(np.nanmean(loss.best_constant(scores[cut], label, None if groups is None else groups[cut])))

    return np.array([of_block(int(first), int(last)) for first, last in zip(blocks.first, blocks.last, strict=True)])


def reference_blocks(blocks: Blocks, until: int | None, asked: int | None) -> int:
    """How many blocks from the first make the reference: up to a moment (microseconds), so many, or the first 30 %, or
    half where that is less than fourteen.

    Raises `InvalidInput` where fewer than five remain for it, or none to watch.
    """
    chosen = max(MIN_REFERENCE_BLOCKS, round(REFERENCE_SHARE * len(blocks)), min(len(blocks) // 2, ENOUGH_BLOCKS))
    if until is not None:
        chosen = int((blocks.end <= until).sum())
    elif asked is not None:
        chosen = asked
    if chosen < MIN_REFERENCE_BLOCKS or chosen >= len(blocks):
        raise InvalidInput(
            "alone.bad_reference",
            f"of {len(blocks)} blocks with labels, {chosen} would be the reference: it needs at least {MIN_REFERENCE_BLOCKS}, and one to watch",
            remedy="Move --reference-until or --reference-blocks, use a shorter --block, or give more history.",
        )
    return chosen


def default_tolerance(level: float) -> float:
    """Two hundredths of the loss of the reference."""
    return max(TOLERANCE_SHARE * abs(level), LEAST_TOLERANCE)


def promise(losses: Losses, reference: int, kind: str) -> Promise:
    """What the first `reference` blocks showed."""
    own = None if losses.own is None else losses.own[:reference]
    scaled = kind in {"regression", "quantile"}
    return promise_of(losses.loss[:reference], losses.base[:reference], own, scaled=scaled)


def reference_of(
    promised: Promise, losses: Losses, reference: int, blocks: Blocks, block: str, *, timed: bool
) -> Reference:
    """The excess of the reference blocks above what was due in them, and its season where rows are `timed`."""
    own = None if losses.own is None else losses.own[:reference]
    starts = [start for start, _ in blocks.part(0, reference).times()] if timed else None
    return accounts.reference_of(
        promised, losses.loss[:reference], losses.base[:reference], own, starts=starts, block=block
    )


def summaries(rows: Rows, blocks: Blocks, losses: Losses, owed: Floats, loss: str) -> list[BlockSummary]:
    """The blocks as a monitor takes them: what was due is their baseline."""
    positives, expected = Sums(blocks), Sums(blocks)
    for part in rows.parts():
        scores = losses.scores[part]
        first = scores if scores.ndim == 1 else scores.max(axis=1)
        positives.add(part.start, np.where(losses.judged[part], np.nan_to_num(rows.label[part]), 0.0))
        expected.add(part.start, np.where(losses.judged[part], np.nan_to_num(first), 0.0))
    versions = _versions(rows, blocks)
    return [
        BlockSummary(
            start=start,
            end=end,
            predictions=int(blocks.predictions[place]),
            labelled=int(losses.units[place]),
            positives=float(positives.total[place]),
            expected=float(expected.total[place]),
            loss=float(losses.loss[place] * losses.units[place]),
            log_loss=float(losses.raw[place] * losses.units[place]) if loss == "log_loss" else None,
            baseline=float(owed[place] * losses.units[place]),
            model_version=versions[place],
        )
        for place, (start, end) in enumerate(blocks.times())
    ]


def _versions(rows: Rows, blocks: Blocks) -> list[str]:
    if rows.version is None:
        return [""] * len(blocks)
    version = rows.version
    cut = (version.part(int(first), int(last)) for first, last in zip(blocks.first, blocks.last, strict=True))
    return [",".join(part.drop_nulls().unique(maintain_order=True).to_list()) for part in cut]


def watch(
    risk: Risk, reference: Reference, state: MonitorState, given: Sequence[BlockSummary], skipped: int, owed: Floats
) -> Trial:
    """Move the monitor over the blocks after the first `skipped`."""
    season = of_season(reference.season, [one.start for one in given], risk.block)
    excess = np.array([one.excess(risk) for one in given]) - season
    evidence = np.zeros(len(given))
    alarms, found = [], []
    for place in range(skipped, len(given)):
        seen = observe(risk, reference, state, given[place])
        state = seen.state
        evidence[place] = seen.harm.log_evidence if seen.harm else state.process.log_evidence
        if seen.harm:
            alarms.append(place)
            found.append(seen.harm)
    return Trial(owed, season, excess, evidence, alarms, found, state)


def episodes(trial: Trial, reference: Reference, allowed: float, skipped: int) -> list[Episode]:
    """The episodes of harm behind the alarms, in the order of time; an alarm within one that was found adds none."""
    found: list[Episode] = []
    for alarm in trial.alarms:
        if found and alarm <= found[-1].last:
            continue
        begin = max(skipped, found[-1].last + 1) if found else skipped
        one = find_episode(trial.excess[begin:], reference.mean, reference.spread, allowed, alarm - begin)
        found.append(Episode(one.first + begin, one.last + begin, one.earliest + begin, one.latest + begin, one.ended))
    return found


def moment_of(rows: Rows, size: int) -> Callable[[int], str]:
    """How a moment is told: as a time, or as the row where rows have no times."""
    if rows.timed:
        return lambda at: f"{from_micros(at):%Y-%m-%d %H:%M} UTC"
    return lambda at: f"row {at // 86_400_000_000 * size + 1:,}"
