"""Probabilities with each block's level taken out: what a model tells apart, whatever the day is like.

Where whole days are good or bad (storms, strikes, promotions), the loss of a day says more of the day than of the model. With
every probability of a block moved by one and the same step of its logit, so that their mean is the share that came true, what
remains is how well the model tells the block's rows apart.
"""

import numpy as np
import numpy.typing as npt

from loopline.evaluation.calibration import logit, sigmoid
from loopline.monitoring.tally import Blocks

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_STEPS = 30
_FARTHEST = 8.0
_CLOSE = 1e-9


def at_block_level(scores: Floats, label: Floats, judged: Mask, blocks: Blocks) -> Floats:
    """The probabilities (rows,) moved block by block, so that their mean over judged rows is that of the labels.

    Rows outside of all blocks stay as they are. The step of a block lies within 8 logits, so that one without any positive row
    moves far, but not to infinity. By Newton's method on all blocks at once.
    """
    member = blocks.of_rows(len(scores))
    known = np.flatnonzero(judged & (member >= 0))
    block, z = member[known], logit(scores[known])
    count = len(blocks)
    rows = np.maximum(np.bincount(block, minlength=count), 1.0)
    rate = np.bincount(block, weights=label[known], minlength=count) / rows
    step, moving = np.zeros(count), np.ones(count, dtype=np.bool_)
    for _ in range(_STEPS):
        # A block that has arrived stays: where it ends then depends on no other block.
        some = moving[block]
        at, where = z[some] + step[block[some]], block[some]
        moved = sigmoid(at)
        gap = rate - np.bincount(where, weights=moved, minlength=count) / rows
        slope = np.bincount(where, weights=moved * (1 - moved), minlength=count) / rows
        step = np.where(
            moving,
            np.clip(step + np.clip(gap / np.maximum(slope, _CLOSE), -1.0, 1.0), -_FARTHEST, _FARTHEST),
            step,
        )
        moving &= np.abs(gap) >= _CLOSE
        if not moving.any():
            break
    found = scores.copy()
    found[known] = sigmoid(z + step[block])
    return found
