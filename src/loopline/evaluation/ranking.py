"""How good an order is: the discounted cumulative gain of each group."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


def ndcg_loss(outputs: npt.ArrayLike, y: npt.ArrayLike, groups: Any = None) -> Floats:
    """`1 - NDCG` of each group, in the place of its first row; NaN in its other rows and in groups without a label.

    All of shape (n,): `outputs` order a group, highest first, `y` are grades of relevance from 0 (gain `2**y - 1`), `groups` says
    which group a row is of (None: all are one). Rows whose score or label is NaN are left out. Rows with equal scores share
    the mean of their discounts, so that a constant score is judged as a random order. A group without a relevant row has
    nothing to get wrong: 0.

    Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques, 2002; McSherry and Najork, Computing information
    retrieval performance measures efficiently in the presence of tied scores, 2008.
    """
    given, labels = np.asarray(outputs, dtype=np.float64), np.asarray(y, dtype=np.float64)
    losses = np.full(len(labels), np.nan)
    known = np.flatnonzero(~np.isnan(given) & ~np.isnan(labels))
    if not len(known):
        return losses
    names = np.zeros(len(labels), dtype=np.intp) if groups is None else np.asarray(groups)
    _, first, member = np.unique(names[known], return_index=True, return_inverse=True)
    gains = np.exp2(labels[known]) - 1
    reached = np.bincount(member, weights=gains * _discounts(member, given[known]))
    ideal = np.bincount(member, weights=gains * _discounts(member, labels[known]))
    losses[known[first]] = 1 - np.divide(reached, ideal, out=np.ones_like(ideal), where=ideal > 0)
    return losses


def _discounts(member: Places, scores: Floats) -> Floats:
    """The discount of each row's rank in its group; ties share the mean of theirs."""
    order = np.lexsort((-scores, member))
    starts = np.searchsorted(member[order], np.arange(member.max() + 1))
    ranks = np.arange(len(order)) - starts[member[order]]
    plain = 1 / np.log2(ranks + 2)
    changed = np.diff(member[order]) != 0
    changed |= np.diff(scores[order]) != 0
    tie = np.concatenate([[0], np.cumsum(changed)])
    shared = np.bincount(tie, weights=plain) / np.bincount(tie)
    discounts: Floats = np.empty(len(plain))
    discounts[order] = shared[tie]
    return discounts
