"""Why: what broke, what moved, where it hurts."""

import numpy as np

from loopline.app.study.answers import FaultSpell, Why
from loopline.app.study.causes import carriers_of, suspects
from loopline.app.study.diagnosis import Diagnosis
from loopline.app.study.explained import harmed_slices, slice_sums_of
from loopline.app.study.study import Study, figure
from loopline.monitoring.diagnosis.cause import Cause
from loopline.monitoring.quality import DataFault
from loopline.monitoring.slice_risk import SliceHarm

MOST = 5
BY_ITSELF = "Harmed by itself since"
_WORDS = {
    "drift": "Moved",
    "traffic_mix": "Moved",
    "concept": "Changed",
    "model_version": "Changed",
    "misleading": "Changed",
}


def answer_why(study: Study) -> Why:
    """Broken inputs, moved inputs and slices, of the last episode of harm or else of what came lately."""
    sums = slice_sums_of(study)
    harms = harmed_slices(study, sums)
    looked = Diagnosis(study, harms, sums)
    first, last = looked.first, looked.last
    faults = _faults(study, first, last)
    moved = suspects(study.inputs, study.profile, first, last)
    carry = carriers_of(sums, study.reference, first, last) if study.episodes or harms else []
    causes = looked.causes(carry)
    compared = f"{study.when(study.start_of(first))} to {study.when(study.end_of(last))} against the reference"
    sentences = [*_told(causes), *(_slice_harm(study, one) for one in harms[:MOST])]
    return Why(
        causes,
        harms,
        spells_of(study),
        faults,
        moved,
        carry,
        study.inputs.importance,
        compared,
        sentences or [_nothing(study)],
    )


def _told(causes: list[Cause]) -> list[str]:
    """The likeliest causes, and what to do about the first."""
    told = [f"{_WORDS.get(one.kind, 'Broken')}: {one.sentence}" for one in causes[:MOST]]
    return [*told[:1], *(f"To do: {one.remedy}" for one in causes[:1]), *told[1:]]


def spells_of(study: Study) -> list[FaultSpell]:
    """Every fault from its beginning to its end, those that began first first."""
    stretch = study.inputs.stretch
    open_: dict[tuple[str, str], int] = {}
    told: list[tuple[str, str, int, int]] = []
    for place in range(study.inputs.reference, int(stretch[-1]) + 2):
        now = {(fault.column, fault.kind) for fault in study.faults.get(place, [])}
        told += [(*key, open_.pop(key), place - 1) for key in set(open_) - now]
        open_ |= dict.fromkeys(now - set(open_), place)
    first = np.searchsorted(stretch, np.arange(int(stretch[-1]) + 2))
    spells = [
        FaultSpell(column, kind, int(first[begin]), int(first[begin + 1]) - 1, int(first[end + 1]) - 1)
        for column, kind, begin, end in told
    ]
    return sorted(spells, key=lambda one: (one.first, one.column, one.kind))


def _slice_harm(study: Study, one: SliceHarm) -> str:
    since = study.when(study.start_of(one.episode.first))
    until = f" until {study.when(study.end_of(one.episode.last))}" if one.episode.ended else ""
    return (
        f"{BY_ITSELF} about {since}{until}: {one.slice}, {one.rows_share:.0%} of the rows. Its {study.loss_name} rose by {figure(one.rise)} "
        "more than that of the other rows."
    )


def _faults(study: Study, first: int, last: int) -> list[DataFault]:
    """Each column's fault once, where it was worst."""
    worst: dict[tuple[str, str], DataFault] = {}
    for stretch in range(int(study.inputs.stretch[first]), int(study.inputs.stretch[last]) + 1):
        for fault in study.faults.get(stretch, []):
            known = worst.get((fault.column, fault.kind))
            if known is None or abs(fault.value - fault.expected) > abs(known.value - known.expected):
                worst[fault.column, fault.kind] = fault
    importance = study.inputs.importance
    return sorted(worst.values(), key=lambda fault: (-importance.get(fault.column, 1.0), fault.column, fault.kind))


def _nothing(study: Study) -> str:
    if not study.setup.columns.features:
        return "The files have no features: nothing can be said of causes."
    if study.episodes:
        return "No input broke or moved beyond the usual, and no slice stands out: what the inputs mean for the label changed."
    return "No input broke or moved beyond what is usual for it."
