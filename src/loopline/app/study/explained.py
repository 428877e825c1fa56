"""What is explained: which blocks, and how much more was lost in them than was due, row by row and slice by slice."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from loopline.app.study.causes import sums_of_slices, unexplained_of
from loopline.app.study.study import Study
from loopline.monitoring.quality import DataFault
from loopline.monitoring.slice_risk import SliceBlocks, SliceHarm, watch_slices

Floats = npt.NDArray[np.float64]

_LASTS = 2
_MATTERS = 0.01


def unexplained(study: Study) -> tuple[Floats, Floats]:
    """For each sampled row whether it is judged, and its unexplained loss."""
    promise = study.setup.promise
    return unexplained_of(study.inputs, study.rows, study.losses, promise.level, promise.surprise)


def slice_sums_of(study: Study) -> dict[str, SliceBlocks]:
    """Rows and unexplained loss of each slice in each block."""
    return sums_of_slices(study.inputs, len(study.blocks), *unexplained(study))


def harmed_slices(study: Study, sums: dict[str, SliceBlocks]) -> list[SliceHarm]:
    """Slices whose harm was found by themselves, those that were first found first."""
    slices = {name: one for name, one in sums.items() if name}
    return watch_slices(slices, sums[""], study.setup.risk, study.reference, study.setup.of_slices)


def lately_of(study: Study, harms: Sequence[SliceHarm]) -> tuple[int, int]:
    """First and last block of what is explained: the last episode of harm; or else since an input that matters broke that is still
    broken; or the episode of the slice that was harmed first and still is; or since anything broke that lasts for some stretches; or the last quarter of what was watched.
    """
    if study.episodes:
        return study.lately
    final, stretch = len(study.blocks) - 1, study.inputs.stretch
    begin, matters = _broken_since(study, study.told_until)
    lasting = [harm for harm in harms if not harm.episode.ended]
    if lasting and not matters:
        return lasting[0].episode.first, final
    if begin is None or int(stretch[-1]) - begin < _LASTS:
        return study.lately
    return int(np.searchsorted(stretch, begin)), final


def _broken_since(study: Study, final: int) -> tuple[int | None, bool]:
    """The first stretch of the fault that lasts longest up to the end, and whether it lasts for some stretches in an input that matters."""
    since: list[tuple[int, float]] = []
    for column, kind in {(fault.column, fault.kind) for fault in study.faults.get(final, [])}:
        begin = final
        while begin - 1 in study.faults and _has(study.faults[begin - 1], column, kind):
            begin -= 1
        since.append((begin, study.inputs.importance.get(column, 0.0)))
    long = [begin for begin, importance in since if final - begin >= _LASTS and importance >= _MATTERS]
    if long:
        return min(long), True
    return min((begin for begin, _ in since), default=None), False


def _has(faults: Sequence[DataFault], column: str, kind: str) -> bool:
    return any((one.column, one.kind) == (column, kind) for one in faults)
