"""Shapley values of one row's score against a background: what each field adds, by enumeration or by sampling.

The value of a set of fields is the mean score of the row with all other fields taken from each background row in turn
(interventional: Janzing, Minorics and Bloebaum, Feature relevance quantification in explainable AI, 2020).
"""

from collections.abc import Callable
from math import factorial

import msgspec
import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ranks = npt.NDArray[np.intp]
Score = Callable[[Rows], Floats]

MOST_SCORED = 20_000
"""How many rows one explanation may score."""

_MOST_ORDERS = 8
_CHUNK = 4_000_000  # cells of rows made at once


class Attribution(msgspec.Struct, frozen=True):
    """`base` is the background's mean score, `contributions` (fields,) what each field adds: together the row's score.

    `error` is the largest standard error of a contribution; 0 where they are exact.
    """

    base: float
    contributions: tuple[float, ...]
    error: float = 0.0


def enumerable(fields: int, background: int) -> bool:
    """Whether every set of so many fields can be scored over so many background rows."""
    return fields < 20 and 2**fields * background <= MOST_SCORED  # noqa: PLR2004 - keeps the power small


def enumerated(score: Score, row: Rows, background: Rows) -> Attribution:
    """Exact, by scoring every set of fields: `row` is float32 of shape (k,), `background` (b, k).

    Shapley, A value for n-person games, 1953.
    """
    fields = len(row)
    sets = (np.arange(2**fields)[:, None] >> np.arange(fields)) & 1 == 1
    mixed = np.where(sets[:, None, :], row, background).reshape(-1, fields)
    worth = score(np.ascontiguousarray(mixed)).reshape(len(sets), len(background)).mean(axis=1)
    sizes = sets.sum(axis=1)
    weight = np.array([factorial(s) * factorial(fields - s - 1) / factorial(fields) for s in range(fields)])
    contributions = []
    for field in range(fields):
        without = np.flatnonzero(~sets[:, field])
        gain = worth[without | (1 << field)] - worth[without]
        contributions.append(float(weight[sizes[without]] @ gain))
    return Attribution(float(worth[0]), tuple(contributions))


def draw_orders(fields: int, background: int, seed: int) -> Ranks:
    """Orders in which fields are taken from the row: the rank of each field, of shape (used, orders, fields).

    Each of the first `used` background rows has its own orders, and each order stands with its reverse, which cancels most
    of the error (Mitchell et al., Sampling permutations for Shapley value estimation, 2022).
    """
    steps = max(fields - 1, 1)
    used = max(1, min(background, MOST_SCORED // (2 * steps)))
    pairs = max(1, min(_MOST_ORDERS // 2, MOST_SCORED // (2 * steps * used)))
    rng = np.random.default_rng(seed)
    ranks = rng.permuted(np.broadcast_to(np.arange(fields), (used, pairs, fields)), axis=2)
    return np.concatenate([ranks, fields - 1 - ranks], axis=1)


def sampled(score: Score, row: Rows, background: Rows, orders: Ranks) -> Attribution:
    """Estimated over `orders` (see `draw_orders`); always adds up, and exact where no more than two fields interact.

    Castro, Gomez and Tejada, Polynomial calculation of the Shapley value based on sampling, 2009. The same row gives the
    same estimate.
    """
    used, count, fields = orders.shape
    share = max(1, _CHUNK // (count * (fields + 1) * fields))
    parts = [_walk(score, row, background[at : at + share], orders[at : at + share]) for at in range(0, used, share)]
    gains, starts = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    pairs = (gains[:, : count // 2] + gains[:, count // 2 :]) / 2
    return Attribution(float(starts.mean()), tuple(gains.mean(axis=(0, 1)).tolist()), _error(pairs))


def _walk(score: Score, row: Rows, background: Rows, orders: Ranks) -> tuple[Floats, Floats]:
    """What each field adds as it changes from the background's value to the row's, (b, orders, fields), and the starts."""
    used, count, fields = orders.shape
    steps = np.arange(fields + 1)[:, None]
    mixed = np.where(orders[:, :, None, :] < steps, row, background[:, None, None, :])
    worth = score(np.ascontiguousarray(mixed).reshape(-1, fields)).reshape(used, count, fields + 1)
    return np.take_along_axis(np.diff(worth, axis=2), orders, axis=2), worth[:, 0, 0]


def _error(pairs: Floats) -> float:
    """The standard error over the choice of orders; where each background row has one pair, over background rows too."""
    used, count, _ = pairs.shape
    if count > 1:
        variance = pairs.var(axis=1, ddof=1).mean(axis=0) / (count * used)
    elif used > 1:
        variance = pairs[:, 0].var(axis=0, ddof=1) / used
    else:
        return float("nan")
    return float(np.sqrt(variance).max(initial=0.0))
