"""Why: what broke, what moved, where it hurts."""

from loopline.app.alone.answers import Why
from loopline.app.alone.causes import carriers_of, suspects
from loopline.app.alone.study import Study
from loopline.monitoring.quality import DataFault

MOST = 5


def answer_why(study: Study) -> Why:
    """Broken inputs, moved inputs and slices, of the last episode of harm or else of what came lately."""
    first, last = study.lately
    faults = _faults(study, first, last)
    moved = suspects(study.inputs, study.profile, first, last)
    carry = (
        carriers_of(
            study.inputs,
            study.losses,
            study.setup.promise.level,
            study.setup.promise.surprise,
            len(study.blocks),
            study.reference,
            first,
            last,
        )
        if study.episodes
        else []
    )
    compared = f"{study.when(study.start_of(first))} to {study.when(study.end_of(last))} against the reference"
    sentences = [f"Broken: {fault.sentence}" for fault in faults[:MOST]]
    broken = {fault.column for fault in faults}
    sentences += [
        f"Moved: {one.sentence}{_weight(study, one.column)}" for one in moved[:MOST] if one.column not in broken
    ]
    sentences += [one.sentence for one in carry[:MOST]]
    return Why(faults, moved, carry, study.inputs.importance, compared, sentences or [_nothing(study)])


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


def _weight(study: Study, column: str) -> str:
    share = study.inputs.importance.get(column, 0.0)
    return f" It explains {share:.0%} of the score's variance." if share >= 0.01 else " The score hardly depends on it."  # noqa: PLR2004 - a percent


def _nothing(study: Study) -> str:
    if not study.setup.columns.features:
        return "The files have no features: nothing can be said of causes."
    if study.episodes:
        return "No input broke or moved beyond the usual, and no slice stands out: what the inputs mean for the label changed."
    return "No input broke or moved beyond what is usual for it."
