"""The figures behind a cause, stretch by stretch."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from loopline.app.study.causes import SCORE, Inputs
from loopline.monitoring.column_profile import CategoryProfile, NumberProfile
from loopline.monitoring.diagnosis.cause import Picture
from loopline.monitoring.drift import drift
from loopline.monitoring.profile import Profile, ReferenceProfile
from loopline.monitoring.slice_risk import SliceBlocks

Floats = npt.NDArray[np.float64]

_LABELS = {
    "null_rate": "share missing",
    "unseen_categories": "share of new values",
    "category_split": "share of new values",
    "category_rename": "share of new values",
    "stale_feature": "different values, about",
    "out_of_range": "share out of range",
}


def _measured(column: NumberProfile | CategoryProfile | None, kind: str) -> float | None:
    if column is None:
        return None
    if kind == "null_rate":
        return column.null_share
    if isinstance(column, CategoryProfile):
        return column.unseen / column.rows if column.rows else 0.0
    if kind == "stale_feature":
        return column.cardinality
    if kind == "out_of_range":
        return column.out_of_range / column.rows if column.rows else 0.0
    return 0.0 if column.mean is None else column.mean


def _column(profile: Profile, name: str) -> NumberProfile | CategoryProfile | None:
    return profile.numbers.get(name) or profile.categories.get(name)


def firsts(inputs: Inputs) -> tuple[int, ...]:
    """The first block of each stretch."""
    return tuple(int(place) for place in np.searchsorted(inputs.stretch, range(int(inputs.stretch[-1]) + 1)))


def pictured(inputs: Inputs, label: str, values: Sequence[float] | Floats, usual: float | None = None) -> Picture:
    """The picture of one figure for each stretch; usual is the mean of the reference's where it is not given."""
    told = np.asarray(values, dtype=np.float64)
    level = float(np.nanmean(told[: inputs.reference])) if usual is None else usual
    return Picture(label, firsts(inputs), tuple(told.tolist()), level)


def fault_picture(inputs: Inputs, name: str, kind: str) -> Picture | None:
    """What a fault of that kind is seen in; None for the score, which has no profile to show."""
    values = [_measured(_column(one, name), kind) for one in inputs.profiles]
    known = [value for value in values if value is not None]
    if name == SCORE or len(known) < len(values):
        return None
    return pictured(inputs, _LABELS.get(kind, "mean"), known)


def slice_picture(inputs: Inputs, sums: dict[str, SliceBlocks], name: str) -> Picture | None:
    """The loss above what was due in a slice."""
    if name not in sums:
        return None
    part, width = sums[name], int(inputs.stretch[-1]) + 1
    rows, lost = (np.bincount(inputs.stretch, weights=one, minlength=width) for one in (part.rows, part.loss))
    return pictured(inputs, "loss above what was due", lost / np.maximum(rows, 1.0))


def distances(inputs: Inputs, reference: ReferenceProfile, name: str) -> Floats:
    """How far a column is from the reference in each stretch: the Jensen-Shannon distance."""
    before = _column(reference.profile, name)
    found = [_column(one, name) for one in inputs.profiles]
    return np.array(
        [drift(before, now).jensen_shannon if before and now and now.rows else 0.0 for now in found], dtype=np.float64
    )
