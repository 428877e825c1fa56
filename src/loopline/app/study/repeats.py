"""Rows that came twice, as a cause of harm."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from loopline.app.study.pictures import pictured
from loopline.app.study.study import Study
from loopline.monitoring.diagnosis.cause import Cause, cause
from loopline.monitoring.diagnosis.repeats import Repeats, jumped, natural_agreement, only_alike, repeated_rows

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Judged = tuple[npt.NDArray[np.bool_], Floats, Floats]


def repeats(study: Study, stretches: range, since: Ints, lost: Floats, rise: float, judged: Judged) -> Iterator[Cause]:
    """The cause, where stretches since the onset have more equal rows than any before. `lost` (rows,) is the loss of the sampled rows that nothing
    explains, `since` the places of those since; `judged` says which have a label, with their scores and labels.
    """
    inputs = study.inputs
    if inputs.hashes is None or not inputs.sample.whole:
        return
    bounds = np.searchsorted(inputs.stretch[inputs.sample.block], np.arange(int(inputs.stretch[-1]) + 2))
    found = repeated_rows(inputs.hashes, bounds, inputs.reference)
    rows = np.diff(bounds)

    def among(places: range) -> list[int]:
        return [place for place in places if jumped(float(found.shares[place]), found.usual, int(rows[place]))]

    broken = among(stretches)
    if not broken or _only_alike(study, found, broken, judged):
        return
    earlier = range(inputs.reference, stretches.start)
    share = float(found.shares[broken].mean())
    again = float(lost[since[found.repeated[since]]].sum()) / max(len(since), 1)
    told = min(max(again / max(rise, study.setup.risk.tolerance), share), 1.0)
    timing = len(broken) / len(stretches) * (1 - len(among(earlier)) / len(earlier) if earlier else 1.0)
    sentence = f"{share:.1%} of rows came before with the same features in the same stretch, where it was at most {found.usual:.1%}: rows are duplicated."
    picture = pictured(inputs, "share of repeated rows", found.shares, found.usual)
    yield cause("duplicated_rows", "rows", sentence, columns=("rows",), share=told, timing=timing, picture=picture)


def _only_alike(study: Study, found: Repeats, broken: Sequence[int], judged: Judged) -> bool:
    known, scores, label = judged
    if study.rows.kind == "ranking" or label.ndim > 1:
        return False
    told = scores if study.rows.kind in {"binary", "multiclass"} and not study.rows.hard else None
    inside = known & np.isin(study.inputs.stretch[study.inputs.sample.block], broken)
    share = float(found.shares[list(broken)].mean())
    return only_alike(found, share, inside, label, natural_agreement(told, label[known], len(label)))
