"""fairlearn's `MetricFrame`: the mean of each measure in each group. It brings pandas, so it is imported when it is needed."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Groups = Mapping[str, Sequence[str]]


def by_group(measures: Mapping[str, Floats], groups: Groups) -> dict[tuple[str, ...], dict[str, float]]:
    """The mean of each of `measures` (rows,) in each group, NaN where no row of it counts.

    `groups` holds a column of names each (rows,); with several columns a group is their intersection, and its key has a
    name of each.
    """
    frame = import_module("fairlearn.metrics").MetricFrame(
        metrics=dict.fromkeys(measures, _mean),
        y_true=np.zeros(len(next(iter(groups.values())))),
        y_pred=np.zeros(len(next(iter(groups.values())))),
        sensitive_features={name: np.asarray(column, dtype=object) for name, column in groups.items()},
        sample_params={name: {"values": values} for name, values in measures.items()},
    )
    told: dict[Any, dict[str, float]] = frame.by_group.to_dict("index")
    keyed = {key if isinstance(key, tuple) else (key,): found for key, found in told.items()}
    return {tuple(map(str, key)): {name: float(one) for name, one in found.items()} for key, found in keyed.items()}


def _mean(y_true: Floats, y_pred: Floats, values: Floats) -> float:  # noqa: ARG001 - fairlearn's signature
    known = np.asarray(values)[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
