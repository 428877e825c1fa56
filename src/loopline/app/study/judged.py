"""Losses where few rows have labels and a judge says something of every row: prediction-powered."""

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.app.study.measure import Losses, Scale, lose
from loopline.app.study.rows import Rows
from loopline.evaluation.losses import Loss
from loopline.monitoring.powered import Sampled, figures_of, sample_of
from loopline.monitoring.tally import Blocks

Floats = npt.NDArray[np.float64]

FLOOR = 0.01
_LEAST = 5


def losses_of_rows(rows: Rows, blocks: Blocks, loss: Loss, scale: Scale) -> Losses:
    """As `lose`; where a judge is there, each row with a score stands for what is expected of it and, if it has a label, for what that missed."""
    if rows.judged is None:
        return lose(rows, blocks, loss, scale)
    one, scores = _sampled(rows, blocks, loss, scale)
    made = np.flatnonzero(rows.made)
    lost, judged = np.zeros(len(rows)), rows.made
    lost[made] = one.rows(slice(0, len(made)), scale.trust or 0.0)
    units = blocks.sums(judged.astype(np.float64))
    mean = blocks.sums(lost) / np.maximum(units, 1.0)
    return Losses(scores, lost, judged, None, units, mean, np.zeros(len(blocks)), None, mean)


def with_trust(rows: Rows, blocks: Blocks, reference: int, loss: Loss, scale: Scale) -> Scale:
    """With how far the judge is trusted, learnt once from the first `reference` blocks."""
    if rows.judged is None:
        return scale
    one, _ = _sampled(rows, blocks, loss, scale)
    until = rows.count(rows.made_in, 0, int(blocks.last[reference - 1]))
    return msgspec.structs.replace(scale, trust=one.learnt(slice(0, until)).trust)


def least_labelled(rows: Rows, wished: int) -> int:
    """How many labelled rows a block needs of which so many rows are wished for."""
    if rows.judged is None:
        return wished
    share = rows.count(rows.known_in) / max(rows.count(rows.made_in), 1)
    return max(_LEAST, round(wished * share))


def _sampled(rows: Rows, blocks: Blocks, loss: Loss, scale: Scale) -> tuple[Sampled, Floats]:
    """Rows with a score, in their order; where nobody says how probably a row was asked, each of a block was as probably as its share of labels."""
    assert rows.judged is not None  # noqa: S101 - asked for before
    scores = scale.margins.apply(rows.outputs) if scale.margins else rows.outputs
    made = rows.made
    figures = figures_of(loss, scores[made], rows.label[made], rows.judged[made], "label", None)
    propensity = _share(rows, blocks) if rows.propensity is None else np.nan_to_num(rows.propensity, nan=0.0)
    asked = rows.known & (propensity > 0)
    return sample_of(rows.at[made], figures, asked[made], propensity[made], FLOOR), scores


def _share(rows: Rows, blocks: Blocks) -> Floats:
    counted, labelled = (blocks.sums(one.astype(np.float64)) for one in (rows.made, rows.known))
    share = np.append(labelled / np.maximum(counted, 1.0), 0.0)
    of_rows: Floats = share[blocks.of_rows(len(rows))]
    return of_rows
