"""Would the earlier model help: changes of version near the onset, and both models on the same rows."""

import numpy as np
import numpy.typing as npt

from loopline.app.study.answers import Earlier, VersionChange
from loopline.app.study.measure import loss_of
from loopline.app.study.study import Study, bounds, figure
from loopline.evaluation.intervals import Interval
from loopline.values import from_micros

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

NEAR = 2
LEAST_BLOCKS = 3


def answer_earlier(study: Study) -> Earlier:
    """Yes, no or cannot tell."""
    changes = version_changes(study)
    difference = _difference(study)
    answer = "cannot_tell"
    if difference is not None and difference.blocks >= LEAST_BLOCKS:
        answer = (
            "yes" if difference.upper < 0 else "no" if difference.lower > -study.setup.risk.tolerance else "cannot_tell"
        )
    return Earlier(
        answer,
        difference,
        [change for _, change in changes],
        [*_near(study, changes), *_told(study, answer, difference)],
    )


def version_changes(study: Study) -> list[tuple[int, VersionChange]]:
    """Where another version came to answer most predictions, with the block of it."""
    if study.rows.version is None:
        return []
    version = study.rows.version
    found: list[tuple[int, VersionChange]] = []
    before = ""
    for block, (first, last) in enumerate(zip(study.blocks.first, study.blocks.last, strict=True)):
        part = version.part(int(first), int(last)).drop_nulls()
        most = str(part.mode().sort()[0]) if len(part) else before
        if before and most != before:
            own = np.flatnonzero((part == most).to_numpy())
            at = int(study.rows.at[int(first) + int(own[0])]) if len(part) == last - first else study.start_of(block)
            found.append((block, VersionChange(from_micros(at), before, most)))
        before = most
    return found


def _near(study: Study, changes: list[tuple[int, VersionChange]]) -> list[str]:
    if not study.episodes:
        return []
    onset = study.episodes[-1]
    near = [change for block, change in changes if onset.earliest - NEAR <= block <= onset.latest + NEAR]
    if near:
        return [
            f"The version changed from {one.before} to {one.after} on {_at(study, one)}, near the onset."
            for one in near
        ]
    if study.rows.version is not None:
        return ["No change of version lies near the onset."]
    return []


def _at(study: Study, change: VersionChange) -> str:
    return study.when((change.at - from_micros(0)) // (from_micros(1) - from_micros(0)))


def _difference(study: Study) -> Interval | None:
    """The earlier model's loss minus the present one's, on rows that both scored, over the last blocks."""
    rows = study.rows
    if rows.earlier is None or rows.outputs.ndim > 1:
        return None
    loss = loss_of(rows, study.setup.risk.loss)
    earlier = rows.earlier
    no_probability = rows.kind == "binary" and rows.count(lambda part: (earlier[part] < 0) | (earlier[part] > 1))
    if loss.grouped or no_probability:
        return None

    def gaps(part: slice) -> tuple[Floats, Mask]:
        lost = loss.rows(earlier[part], rows.label[part]) - loss.rows(study.losses.scores[part], rows.label[part])
        return lost, ~np.isnan(lost) & study.losses.judged[part]

    return study.mean(gaps, *study.lately)


def _told(study: Study, answer: str, difference: Interval | None) -> list[str]:
    if difference is None:
        return (
            []
            if study.rows.earlier is None
            else ["The earlier scores cannot be judged: they are no probabilities, or of another shape."]
        )
    on = f"on the same {difference.rows:,} rows"
    size = (
        f"{figure(abs(difference.mean))}{bounds(difference) if difference.mean > 0 else bounds(_negated(difference))}"
    )
    if answer == "yes":
        return [f"Yes: {on} the earlier model's {study.raw_name} is {size} lower."]
    if answer == "no":
        higher = "higher" if difference.mean > 0 else "lower, which is too little to matter"
        return [f"No: {on} the earlier model's {study.raw_name} is {size} {higher}."]
    return [
        f"It cannot be told: {on} the earlier model's {study.raw_name} differs by {figure(difference.mean)}{bounds(difference)}."
    ]


def _negated(one: Interval) -> Interval:
    return Interval(-one.mean, -one.upper, -one.lower, one.error, one.blocks, one.rows)
