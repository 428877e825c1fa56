"""A study from nothing: block, reference and promise are learnt from the rows themselves."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.app.study.answers import Setup
from loopline.app.study.calibration import Prices
from loopline.app.study.causes import Inputs, faults_by_stretch, look_at_inputs, reference_profile_of
from loopline.app.study.columns import NOTHING_SAID, Columns, Said
from loopline.app.study.coverage import lateness_of
from loopline.app.study.files import Table
from loopline.app.study.judged import least_labelled, losses_of_rows, with_trust
from loopline.app.study.measure import (
    Losses,
    Scale,
    default_tolerance,
    episodes,
    fit_scale,
    lose,
    loss_of,
    promise,
    reference_blocks,
    reference_of,
    summaries,
    watch,
)
from loopline.app.study.rows import KINDS, Rows, check_classes
from loopline.app.study.rows import Chosen as ChosenRows
from loopline.app.study.study import Study
from loopline.app.study.times import moment_micros
from loopline.errors import InvalidInput
from loopline.evaluation.losses import Loss
from loopline.monitoring.allotment import with_slices
from loopline.monitoring.block_length import Chosen, choose_block_of, rows_a_block
from loopline.monitoring.due import due
from loopline.monitoring.lateness import settled_blocks
from loopline.monitoring.risk import MIN_REFERENCE_BLOCKS, Risk
from loopline.monitoring.state import MonitorState
from loopline.monitoring.tally import Blocks, cut_parts
from loopline.values import MICROSECOND, duration

Floats = npt.NDArray[np.float64]

ABSENT = ("unlabelled", "negative")
_DAY = 86_400_000_000
_LEAST_ROWS = 50
_SHARPER = 0.5
_WHOLE = 0.5

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What is asked: files, what the user said of columns, and how to watch; what is empty or None is chosen from the data.

    `matures`, `block` are durations, `reference_until` is a day or a time.
    """

    predictions: str
    labels: str | None = None
    earlier: str | None = None
    name: str = ""
    said: Said = NOTHING_SAID
    kind: str = ""
    positive: str = ""
    loss: str = ""
    absent: str = "unlabelled"
    matures: str = ""
    block: str = ""
    tolerance: float | None = None
    reference_until: str = ""
    reference_blocks: int | None = None
    false_pages_per_year: float = 1.0
    prices: Prices | None = None
    monitors: tuple[str, ...] = ()
    """Files with monitors of the user's own, or FILE.py:NAME."""
    kept: bool = False
    """Whether a later run goes on from this one: then only blocks that are over are counted."""


def check_request(request: Request) -> None:
    """Raise `InvalidInput` for a kind or a meaning of absence that there is not, and for a moment or duration that is none."""
    if request.kind and request.kind not in KINDS:
        raise InvalidInput(
            "alone.unknown_kind", f"there is no kind {request.kind!r}", remedy=f"Use one of {', '.join(KINDS)}."
        )
    if request.absent not in ABSENT:
        raise InvalidInput(
            "alone.unknown_absent",
            f"the absence of a label cannot mean {request.absent!r}",
            remedy=f"Use one of {', '.join(ABSENT)}.",
        )
    for text in (request.block, request.matures):
        if text:
            duration(text)
    if request.reference_until:
        moment_micros(request.reference_until)


def study_afresh(request: Request, table: Table, columns: Columns, rows: Rows, progress: Progress) -> Study:
    """Choose the block, learn the promise on the reference, and watch the rest.

    Raises `InvalidInput` where there is too little, or a choice of the user leaves no reference.
    """
    matures = _matures(request, rows)
    rows, ready = mature(request.absent, rows, matures)
    check_classes(rows)
    rows, chosen, size = _blocks_of(request, rows, ready)
    blocks = whole_blocks(_cut(rows, ready, chosen), rows, matures, ready, strict=request.kept)
    _check_enough(blocks, rows, chosen)
    until = moment_micros(request.reference_until) if request.reference_until else None
    reference = reference_blocks(blocks, until, request.reference_blocks)
    loss = loss_of(rows, request.loss)
    scale = with_trust(rows, blocks, reference, loss, fit_scale(rows, int(blocks.last[reference - 1])))
    progress("losses")
    losses = losses_of_rows(rows, blocks, loss, scale)
    tolerance = (
        default_tolerance(float(losses.loss[:reference].mean())) if request.tolerance is None else request.tolerance
    )
    if rows.kind == "binary" and not rows.hard and rows.judged is None:
        losses, scale = _sharper(rows, blocks, chosen.block, loss, losses, scale, reference, tolerance)
    promised = promise(losses, reference, rows.kind)
    of_all, of_slices = _allotted(request.false_pages_per_year, columns, rows)
    setup = Setup(
        name=request.name,
        kind=rows.kind,
        classes=rows.classes,
        levels=rows.levels,
        columns=columns,
        timed=rows.timed,
        rows_a_block=size,
        risk=Risk(loss.name, tolerance, chosen.block, of_all, "scores", chosen.min_rows),
        promise=promised,
        reference=reference_of(promised, losses, reference, blocks, chosen.block, timed=rows.timed),
        reference_until=int(blocks.end[reference - 1]),
        matures=matures,
        absent=request.absent,
        scale=msgspec.to_builtins(scale),
        of_slices=of_slices,
    )
    inputs = look_at_inputs(table, columns.features, rows, blocks, reference, losses.scores, progress)
    return _watched(setup, rows, blocks, reference, losses, inputs)


def _allotted(budget: float, columns: Columns, rows: Rows) -> tuple[float, float]:
    """What all rows as one and what all slices have of the budget; without columns to slice by, slices need none."""
    sliced = columns.features or rows.version is not None or rows.decision is not None
    return with_slices(budget) if sliced else (budget, 0.0)


def _sharper(
    rows: Rows,
    blocks: Blocks,
    block: str,
    loss: Loss,
    losses: Losses,
    scale: Scale,
    reference: int,
    tolerance: float,
) -> tuple[Losses, Scale]:
    """With each block's level taken out, where half as large a harm would be seen then: where whole blocks are good or bad."""
    free = msgspec.structs.replace(scale, level_free=True)
    without = lose(rows, blocks, loss, free)
    gaps = [_gap(found, reference, tolerance, blocks, block, timed=rows.timed) for found in (losses, without)]
    return (without, free) if gaps[1] < _SHARPER * gaps[0] else (losses, scale)


def _gap(losses: Losses, reference: int, tolerance: float, blocks: Blocks, block: str, *, timed: bool) -> float:
    """How much a loss has to rise before it counts as harm at all."""
    found = reference_of(promise(losses, reference, "binary"), losses, reference, blocks, block, timed=timed)
    return found.upper + tolerance - found.mean


def _watched(setup: Setup, rows: Rows, blocks: Blocks, reference: int, losses: Losses, inputs: Inputs) -> Study:
    profile = reference_profile_of(inputs)
    faults = faults_by_stretch(inputs, profile)
    faulty = np.isin(inputs.stretch, list(faults))
    owed = due(setup.promise, losses.base, losses.own, faulty)
    trial = watch(
        setup.risk,
        setup.reference,
        MonitorState(),
        summaries(rows, blocks, losses, owed, setup.risk.loss),
        reference,
        owed,
    )
    found = episodes(trial, setup.reference, setup.reference.upper + setup.risk.tolerance, reference)
    waiting = len(rows) - int(blocks.predictions.sum())
    return Study(setup, rows, blocks, reference, losses, trial, found, inputs, profile, faults, waiting)


def _matures(request: Request, rows: Rows) -> float | None:
    """After how many seconds a label is due: as said, or what 95 % of the labels need."""
    if request.matures:
        return duration(request.matures).total_seconds()
    late = lateness_of(rows)
    return None if late is None else late.most


def mature(absent: str, rows: Rows, matures: float | None) -> tuple[Rows, int]:
    """The rows with what absence means, and how many from the first have their labels due.

    Raises `InvalidInput` where absence cannot mean no.
    """
    ready = len(rows)
    if matures is not None and rows.timed:
        newest = int(rows.at[-1])
        if rows.label_at is not None:
            newest = max(newest, *(int(rows.label_at[part].max()) for part in rows.parts()))
        ready = int(np.searchsorted(rows.at, newest - round(matures * 1e6), side="right"))
    if absent != "negative":
        return rows, ready
    if rows.kind != "binary" or (matures is None and rows.timed):
        raise InvalidInput(
            "alone.absent_unclear",
            "absence can mean no only for labels of two kinds, and once it is known when a label is due",
            remedy="Say when with --matures, e.g. --matures 30d.",
        )
    [label] = rows.shelf.keep([_no_means_no(rows.label[part], ready - part.start)] for part in rows.parts())
    return replace(rows, label=label), ready


def _no_means_no(label: Floats, ready: int) -> Floats:
    """Some labels, of which those of the first `ready` rows that are not there mean no."""
    due = np.arange(len(label)) < ready
    return np.where(due & np.isnan(label), 0.0, label)


def _blocks_of(request: Request, rows: Rows, ready: int) -> tuple[Rows, Chosen, int]:
    """The block's length, and rows whose place in the file is turned into time where they have none."""
    known = rows.count(counted(rows), 0, ready)
    if not rows.timed:
        size = rows_a_block(known)
        if size is None:
            raise _too_few(known, 0)
        every = max(1, round(size * len(rows) / max(known, 1)))
        [at] = rows.shelf.keep([(rows.at[part] // every) * _DAY + _DAY] for part in rows.parts())
        return replace(rows, at=at), Chosen("1d", max(1, size // 2)), every
    if request.block:
        return rows, Chosen(request.block, least_labelled(rows, _LEAST_ROWS)), 0
    told = counted(rows) if rows.judged is None else rows.made_in
    rare = _rare(rows)
    scarce = rows.count(lambda part: told(part) & rare(part), 0, ready)
    chosen = choose_block_of(lambda: (rows.at[part][told(part)] for part in rows.parts(0, ready)), scarce)
    if chosen is None:
        raise _too_few(known, 0)
    return rows, Chosen(chosen.block, least_labelled(rows, chosen.min_rows)), 0


def _rare(rows: Rows) -> ChosenRows:
    """Rows of the rarer class; of other kinds, and where a judge is, all rows count."""
    if rows.kind != "binary" or rows.judged is not None:
        return lambda part: np.ones(part.stop - part.start, dtype=np.bool_)
    positives = rows.count(lambda part: rows.label[part] == 1)
    rarer = 1 if 2 * positives <= rows.count(rows.known_in) else 0
    return lambda part: rows.label[part] == rarer


def _cut(rows: Rows, ready: int, chosen: Chosen) -> Blocks:
    return cut_counted(rows, slice(0, ready), duration(chosen.block) // MICROSECOND, chosen.min_rows)


def cut_counted(rows: Rows, among: slice, length: int, min_rows: int) -> Blocks:
    """Blocks of `length` microseconds of some of the rows, counted from the first of these."""
    count = counted(rows)
    parts = ((rows.at[part], count(part)) for part in rows.parts(among.start, among.stop))
    return cut_parts(parts, length, min_rows)


def counted(rows: Rows) -> ChosenRows:
    """What is counted: rows with score and label, or the first of each ranked list."""
    if rows.kind != "ranking" or rows.group is None:
        return rows.known_in
    first = np.zeros(len(rows), dtype=np.bool_)
    first[np.unique(rows.group.codes, return_index=True)[1]] = True
    return lambda part: first[part]


def whole_blocks(blocks: Blocks, rows: Rows, matures: float | None, ready: int, *, strict: bool) -> Blocks:
    """Without a last block that is cut off, and without those that wait for their labels.

    A last block that is not over counts with at least half of the usual rows, or, where `strict`, not at all.
    """
    if len(blocks) < 2:  # noqa: PLR2004 - nothing to compare with
        return blocks
    reached = int(rows.at[ready - 1])
    typical = float(np.median(blocks.predictions[:-1]))
    if blocks.end[-1] > reached and (strict or blocks.predictions[-1] < _WHOLE * typical):
        blocks = blocks.part(0, -1)
    if matures is None and rows.timed:
        blocks = blocks.part(0, settled_blocks((blocks.labelled / np.maximum(blocks.predictions, 1)).tolist()))
    return blocks


def _check_enough(blocks: Blocks, rows: Rows, chosen: Chosen) -> None:
    if len(blocks) <= MIN_REFERENCE_BLOCKS:
        raise _too_few(rows.count(rows.known_in), len(blocks), chosen.block if rows.timed else "")


def _too_few(labelled: int, blocks: int, length: str = "") -> InvalidInput:
    told = f" They make {blocks} blocks of {length}." if length else ""
    return InvalidInput(
        "alone.too_few",
        f"{labelled:,} labelled rows are too few, or too close together, to tell harm from chance.{told}",
        remedy=f"Give at least {8 * _LEAST_ROWS} labelled rows over at least {MIN_REFERENCE_BLOCKS + 3} stretches of time; or a shorter --block.",
    )
