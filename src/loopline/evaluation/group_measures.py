"""What is measured of each group: figures row by row, NaN where a row does not count; a group's figure is their mean."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput, NotFound
from loopline.evaluation.losses import log_loss

Floats = npt.NDArray[np.float64]


def measures(
    kind: str, outputs: npt.ArrayLike, labels: npt.ArrayLike, chosen: npt.ArrayLike, costs: npt.ArrayLike
) -> dict[str, Floats]:
    """Every measure of a kind of model, by name, each float64 of shape (rows,).

    `outputs` and `labels` are as the kind has them: a probability and 0 or 1; class probabilities (rows, classes) and the
    place of the class; a number (of quantiles the middle one) and a number. NaN in either is a row that is not known and counts
    nowhere. `chosen` is 1 where the decision was positive, 0 where negative, NaN where it abstained; `costs` what each
    decision cost.

    - binary: `base_rate`, `mean_score`, `calibration_gap` (score minus label), `selection_rate` and `abstention_rate` of all
      rows; `error_rate`, `false_positive_rate` and `false_negative_rate` of the rows that were decided; `log_loss`.
    - multiclass: `error_rate` of the likeliest class, `log_loss`.
    - regression, quantile: `mean_error` (output minus label), `absolute_error`, `squared_error`.
    - and for each `cost`, where costs are known.

    Raises `InvalidInput` "bias.kind" for another kind: of a ranking, rows are not judged one by one.
    """
    if kind not in _MEASURES:
        raise InvalidInput(
            "bias.kind", f"groups of a {kind} model are not compared", remedy=f"Kinds: {', '.join(_MEASURES)}."
        )
    given, y = np.asarray(outputs, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    spent, picked = np.asarray(costs, dtype=np.float64), np.asarray(chosen, dtype=np.float64)
    known = ~np.isnan(y) & ~(np.isnan(given).any(axis=1) if given.ndim == 2 else np.isnan(given))  # noqa: PLR2004 - rows and classes
    found = dict(_MEASURES[kind](given, y, picked))
    if not np.isnan(spent).all():
        found["cost"] = spent
    return {name: np.where(known, values, np.nan) for name, values in found.items()}


def require_measure(name: str) -> None:
    """Raise `NotFound` "bias.unknown_measure" for what no kind of model is measured by."""
    if name not in NAMES:
        raise NotFound(
            "bias.unknown_measure", f"there is no measure {name!r} of groups", remedy=f"Use one of {', '.join(NAMES)}."
        )


def _binary(p: Floats, y: Floats, chosen: Floats) -> Mapping[str, Floats]:
    wrong = np.where(np.isnan(chosen), np.nan, (chosen != y).astype(np.float64))
    return {
        "base_rate": y,
        "mean_score": p,
        "calibration_gap": p - y,
        "selection_rate": (chosen == 1).astype(np.float64),
        "abstention_rate": np.isnan(chosen).astype(np.float64),
        "error_rate": wrong,
        "false_positive_rate": np.where(y == 0, wrong, np.nan),
        "false_negative_rate": np.where(y == 1, wrong, np.nan),
        "log_loss": log_loss(p, y),
    }


def _multiclass(p: Floats, y: Floats, chosen: Floats) -> Mapping[str, Floats]:  # noqa: ARG001 - all kinds are asked alike
    places = np.where(np.isnan(y), 0, y).astype(np.intp)
    told = np.clip(np.take_along_axis(p, places[:, None], axis=1)[:, 0], 1e-4, 1.0)
    return {"error_rate": (p.argmax(axis=1) != y).astype(np.float64), "log_loss": -np.log(told)}


def _number(value: Floats, y: Floats, chosen: Floats) -> Mapping[str, Floats]:  # noqa: ARG001 - all kinds are asked alike
    one = value[:, value.shape[1] // 2] if value.ndim == 2 else value  # noqa: PLR2004 - rows and levels
    return {"mean_error": one - y, "absolute_error": np.abs(one - y), "squared_error": (one - y) ** 2}


_MEASURES: dict[str, Callable[[Floats, Floats, Floats], Mapping[str, Floats]]] = {
    "binary": _binary,
    "multiclass": _multiclass,
    "regression": _number,
    "quantile": _number,
}

NAMES = (
    "selection_rate",
    "false_positive_rate",
    "false_negative_rate",
    "error_rate",
    "abstention_rate",
    "base_rate",
    "mean_score",
    "calibration_gap",
    "log_loss",
    "cost",
    "mean_error",
    "absolute_error",
    "squared_error",
)
"""Every measure there is."""
