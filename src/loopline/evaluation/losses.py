"""Losses of predictions, row by row, by name. Less is better.

`outputs` and `y` are as `evaluation.kind.Output` says; a NaN in either gives NaN.
"""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput, NotFound
from loopline.evaluation.kind import BINARY, Kind, Output
from loopline.evaluation.ranking import ndcg_loss

Floats = npt.NDArray[np.float64]

CLIP = 1e-4


class Rows(Protocol):
    """The loss of each row, shape (n,)."""

    def __call__(self, outputs: npt.ArrayLike, y: npt.ArrayLike, groups: Any = None) -> Floats: ...


class Loss(msgspec.Struct, frozen=True):
    """A named loss. `rows(outputs, y)` gives each row's.

    For a `grouped` loss `rows(outputs, y, groups)` gives the loss of a group in the place of its first row and NaN in its other
    rows, so that a mean over what is not NaN is a mean over groups.

    `best_constant(y)` is each row's loss under the constant that would have been best for these very rows: what there is to win
    for a model that knows more. Where that constant follows from the share of positives, `of_base_rate(rate)` is its mean.
    """

    name: str
    kinds: tuple[Kind, ...]
    rows: Rows
    best_constant: Rows
    of_base_rate: Callable[[float], float] | None = None
    grouped: bool = False


def log_loss(p: npt.ArrayLike, y: npt.ArrayLike, clip: float = CLIP) -> Floats:
    """`-log` of the probability given to what happened, in nats, with that probability clipped into [clip, 1 - clip].

    `p` of shape (n,) is the probability of a 1, of shape (n, k) that of each class.
    """
    given, labels = np.asarray(p, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if given.ndim > 1:
        return -np.log(np.clip(_of_label(given, labels), clip, 1 - clip))
    inside = np.clip(given, clip, 1 - clip)
    return -(labels * np.log(inside) + (1 - labels) * np.log1p(-inside))


def brier(p: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
    """The squared distance of the probability from the label, in [0, 1].

    For several classes half of the sum over them, which for two classes is the same number.
    """
    given, labels = np.asarray(p, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if given.ndim > 1:
        summed: Floats = (given**2).sum(axis=1) + 1 - 2 * _of_label(given, labels)
        return summed / 2
    return (given - labels) ** 2


def zero_one(p: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
    """1 where the likeliest class is not what happened, 0 where it is; of two, a probability of a half predicts a 1."""
    given, labels = np.asarray(p, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if given.ndim > 1:
        unknown = np.isnan(given).any(axis=1)
        wrong = (np.where(unknown, 0, given.argmax(axis=1)) != labels).astype(np.float64)
    else:
        unknown = np.isnan(given)
        wrong = ((given >= 0.5) != (labels == 1)).astype(np.float64)  # noqa: PLR2004  # a half is a half
    return np.where(unknown | np.isnan(labels), np.nan, wrong)


def squared_error(predicted: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
    """The squared distance of the value from the label."""
    return (np.asarray(predicted, dtype=np.float64) - np.asarray(y, dtype=np.float64)) ** 2


def absolute_error(predicted: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
    """The distance of the value from the label."""
    return np.abs(np.asarray(predicted, dtype=np.float64) - np.asarray(y, dtype=np.float64))


def pinball(quantiles: npt.ArrayLike, y: npt.ArrayLike, levels: tuple[float, ...]) -> Floats:
    """The mean over `levels` of the pinball loss of (n, levels) quantiles: least for the true ones.

    Koenker and Bassett, Regression quantiles, 1978. The mean over many levels nears half of the CRPS.
    """
    given = np.asarray(quantiles, dtype=np.float64).reshape(-1, len(levels))
    above = np.asarray(y, dtype=np.float64)[:, None] - given
    share = np.asarray(levels)
    mean: Floats = np.maximum(share * above, (share - 1) * above).mean(axis=1)
    return mean


def entropy(base_rate: float, clip: float = CLIP) -> float:
    """The mean log loss, in nats, of always predicting the true base rate; the rate is clipped as in `log_loss`."""
    inside = min(max(base_rate, clip), 1 - clip)
    return float(-(base_rate * np.log(inside) + (1 - base_rate) * np.log1p(-inside)))


def _of_label(p: Floats, y: Floats) -> Floats:
    """The probability of the class that happened; NaN where none is known."""
    known = ~np.isnan(y)
    place = np.where(known, y, 0).astype(np.int64)
    return np.where(known, p[np.arange(len(p)), place], np.nan)


def _shares(y: Floats, width: int) -> Floats:
    known = y[~np.isnan(y)].astype(np.int64)
    return np.bincount(known, minlength=width) / max(len(known), 1)


def _variance(base_rate: float) -> float:
    return base_rate * (1 - base_rate)


def _rarer(base_rate: float) -> float:
    return min(base_rate, 1 - base_rate)


def _ungrouped(rows: Callable[[npt.ArrayLike, npt.ArrayLike], Floats]) -> Rows:
    return lambda outputs, y, groups=None: rows(outputs, y)  # noqa: ARG005 - rows stand for themselves


def _constant(rows: Callable[[npt.ArrayLike, npt.ArrayLike], Floats], best: Callable[[Floats], Any]) -> Rows:
    """Row losses of the constant that `best` finds for the known labels."""

    def of_rows(outputs: npt.ArrayLike, y: npt.ArrayLike, groups: Any = None) -> Floats:  # noqa: ARG001 - as Rows
        labels = np.asarray(y, dtype=np.float64)
        known = labels[~np.isnan(labels)]
        if not len(known):
            return np.full(len(labels), np.nan)
        constant = np.asarray(best(known), dtype=np.float64)
        return rows(np.broadcast_to(constant, (len(labels), *constant.shape)), labels)

    return of_rows


def _of_classes(name: str, output: Output) -> Loss:
    rows = {"log_loss": log_loss, "brier": brier, "zero_one": zero_one}[name]
    of_rate = {"log_loss": entropy, "brier": _variance, "zero_one": _rarer}[name]
    if output.kind == "multiclass":
        constant = _constant(rows, lambda y: _shares(y, output.width))
        return Loss(name, ("binary", "multiclass"), _ungrouped(rows), constant)
    return Loss(name, ("binary", "multiclass"), _ungrouped(rows), _constant(rows, np.mean), of_rate)


def _of_values(name: str, output: Output) -> Loss:
    rows = {"squared_error": squared_error, "absolute_error": absolute_error}[name]
    best: Callable[[Floats], Any] = np.mean if name == "squared_error" else np.median

    def of_middle(outputs: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        given = np.asarray(outputs, dtype=np.float64)
        return rows(given[:, output.middle] if given.ndim > 1 else given, y)

    return Loss(name, ("regression", "quantile"), _ungrouped(of_middle), _constant(rows, best))


def _of_quantiles(name: str, output: Output) -> Loss:
    levels = output.levels or (0.5,)

    def rows(outputs: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        return pinball(outputs, y, levels)

    return Loss(name, ("quantile",), _ungrouped(rows), _constant(rows, lambda y: np.quantile(y, levels)))


def _of_rankings(name: str, output: Output) -> Loss:  # noqa: ARG001 - as the others
    def of_ties(outputs: npt.ArrayLike, y: npt.ArrayLike, groups: Any = None) -> Floats:  # noqa: ARG001 - as Rows
        labels: Floats = np.asarray(y, dtype=np.float64)
        return ndcg_loss(np.zeros(len(labels)), labels, groups)

    return Loss(name, ("ranking",), ndcg_loss, of_ties, grouped=True)


_MAKERS = {
    "log_loss": _of_classes,
    "brier": _of_classes,
    "zero_one": _of_classes,
    "squared_error": _of_values,
    "absolute_error": _of_values,
    "pinball": _of_quantiles,
    "ndcg_loss": _of_rankings,
}

_OF_KIND: dict[Kind, tuple[str, ...]] = {
    "binary": ("log_loss", "brier", "zero_one"),
    "multiclass": ("log_loss", "brier", "zero_one"),
    "regression": ("squared_error", "absolute_error"),
    "quantile": ("pinball", "absolute_error", "squared_error"),
    "ranking": ("ndcg_loss",),
    "multioutput": (),
}


def losses_of(kind: Kind) -> tuple[str, ...]:
    """The names of the losses that a kind of model is judged by, the one to take where none is said first."""
    return _OF_KIND[kind]


def named(name: str, output: Output = BINARY) -> Loss:
    """The loss of that name for models with this output. Raises `NotFound`."""
    if name not in _MAKERS:
        raise NotFound("loss.unknown", f"there is no loss {name!r}", remedy=f"Use one of {', '.join(sorted(_MAKERS))}.")
    return _MAKERS[name](name, output)


def require_fit(name: str, output: Output) -> Loss:
    """The loss of that name, if it judges this kind of model. Raises `NotFound` and `InvalidInput`."""
    found = named(name, output)
    if output.kind not in found.kinds:
        raise InvalidInput(
            "loss.other_kind",
            f"{name} does not judge {output.kind} models",
            remedy=f"Use one of {', '.join(losses_of(output.kind))}.",
        )
    return found
