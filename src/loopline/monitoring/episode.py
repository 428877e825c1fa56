"""When a harm began, and whether it ended: the stretch of blocks that tells best where the excess was another."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_LIKELY = 6.0
"""Twice the drop of the log-likelihood that a likely beginning may have: about 95 % for a clear change."""

_LEAST_AFTER = 3


@dataclass(frozen=True)
class Episode:
    """Blocks `first` to `last`, both in it, by place. It began between `earliest` and `latest`; `ended` if blocks after it are as due."""

    first: int
    last: int
    earliest: int
    latest: int
    ended: bool


def find_episode(excesses: Floats, usual: float, spread: float, allowed: float, alarm: int) -> Episode:
    """The most likely episode of higher excess that holds the block of the alarm.

    By maximum likelihood for normal blocks that have mean `usual` and deviation `spread` outside of it and another mean
    within: the stretch of largest (sum of x - usual)^2 / length, above `usual` (Levin and Kline, The CUSUM test of homogeneity
    with an application in spontaneous abortion epidemiology, 1985). An episode ended where at least three blocks follow it, at
    most `allowed` in the mean, and going on to the last block is clearly less likely.
    """
    gains = np.concatenate([[0.0], np.cumsum(excesses - usual)])
    score = _scores(gains, alarm)
    first, offset = np.unravel_index(int(np.argmax(score)), score.shape)
    last = alarm + int(offset)
    final = len(excesses) - 1
    clearly = _LIKELY * max(spread, 1e-12) ** 2
    after = excesses[last + 1 :]
    ended = (
        len(after) >= _LEAST_AFTER
        and float(after.mean()) <= allowed
        and float(score.max() - score[:, -1].max()) > clearly
    )
    if not ended:
        last = final
        first = np.argmax(score[:, -1])
    column = score[:, last - alarm]
    likely = np.flatnonzero(column >= column[first] - clearly)
    return Episode(int(first), last, int(likely[0]), int(likely[-1]), ended)


def _scores(gains: Floats, alarm: int) -> Floats:
    """The score of each stretch from a row's block to the block a column after the alarm; 0 where it lies below the usual."""
    starts, ends = np.arange(alarm + 1), np.arange(alarm, len(gains) - 1)
    risen = np.maximum(gains[ends + 1][None, :] - gains[starts][:, None], 0.0)
    score: Floats = risen**2 / (ends[None, :] - starts[:, None] + 1)
    return score
