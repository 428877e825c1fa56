"""Leak suspects: single features that tell the label almost perfectly."""

import numpy as np

from loopline.training.training_set import TrainingSet

SUSPECT_AUC = 0.98
_SAMPLE = 20_000


def leak_suspects(training_set: TrainingSet) -> dict[str, float]:
    """Features whose own ranking of the label is too good to be true: name to area under the ROC curve (0.5 to 1).

    Computed on an even sample of at most 20,000 rows; missing values rank lowest. The area is the Mann-Whitney statistic
    with midranks (Hanley and McNeil 1982).
    """
    rows = np.linspace(0, len(training_set) - 1, min(len(training_set), _SAMPLE)).astype(int)
    labels = training_set.y[rows] == 1
    found = {}
    for place, name in enumerate(training_set.feature_names):
        area = area_under_curve(training_set.X[rows, place], labels)
        if area >= SUSPECT_AUC:
            found[name] = area
    return found


def area_under_curve(values: np.ndarray, labels: np.ndarray) -> float:
    """How well `values` order `labels` (Boolean), in either direction: 0.5 to 1. NaN ranks lowest. Shapes (rows,)."""
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if not positives or not negatives:
        return 0.5
    filled = np.where(np.isnan(values), -np.inf, values)
    _, place, counts = np.unique(filled, return_inverse=True, return_counts=True)
    midranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    statistic = midranks[labels].sum() - positives * (positives + 1) / 2
    area = float(statistic / (positives * negatives))
    return max(area, 1 - area)
