"""Calibration of class probabilities: one temperature for all classes, or a scale and a shift for each."""

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evaluation.newton import minimum

Floats = npt.NDArray[np.float64]

CLIP = 1e-6


class TemperatureCalibrator(msgspec.Struct, frozen=True, tag="temperature"):
    """`softmax(log(p) / temperature)`: above 1 it makes a model less sure, below 1 surer; the ranking of classes stays."""

    temperature: float = 1.0

    def apply(self, p: npt.ArrayLike) -> Floats:
        """Calibrated class probabilities, float64 of shape (n, classes), for `p` of that shape; NaN rows stay NaN."""
        return _softmax(_logs(p) / self.temperature)


class VectorCalibrator(msgspec.Struct, frozen=True, tag="vector"):
    """`softmax(scale * log(p) + shift)`, a scale and a shift for each class."""

    scale: tuple[float, ...]
    shift: tuple[float, ...]

    def apply(self, p: npt.ArrayLike) -> Floats:
        """Calibrated class probabilities, float64 of shape (n, classes), for `p` of that shape; NaN rows stay NaN."""
        return _softmax(_logs(p) * np.array(self.scale) + np.array(self.shift))


def fit_temperature(
    p: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> TemperatureCalibrator | None:
    """Fit by maximum likelihood, with one row's worth of belief that nothing is to be changed.

    `p` has shape (rows, classes), `y` (rows,) is the index of the class that came, `weights` (rows,) how much a row counts for. None where all rows
    are of one class, or where the scores say the opposite of what came. Raises `InvalidInput` for other shapes and values.

    Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, ICML 2017.
    """
    logs, labels = _checked(p, y)
    if len(np.unique(labels)) < 2:  # noqa: PLR2004 - two classes
        return None
    scale = float(_fit(logs[:, :, None], labels, np.array([1.0]), weights)[0])
    return TemperatureCalibrator(1 / scale) if scale > 0 else None


def fit_vector(p: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> VectorCalibrator | None:
    """As `fit_temperature`, with a scale and a shift for each class."""
    logs, labels = _checked(p, y)
    if len(np.unique(labels)) < 2:  # noqa: PLR2004 - two classes
        return None
    classes = logs.shape[1]
    each = np.eye(classes)
    design = np.concatenate([logs[:, :, None] * each, np.broadcast_to(each, (len(logs), classes, classes))], axis=2)
    found = _fit(design, labels, np.array([1.0] * classes + [0.0] * classes), weights)
    return VectorCalibrator(tuple(found[:classes].tolist()), tuple(found[classes:].tolist()))


def _fit(design: Floats, labels: npt.NDArray[np.intp], start: Floats, weights: npt.ArrayLike | None = None) -> Floats:
    """Coefficients (k,) of the multinomial logits `design @ coefficients`; `design` has shape (rows, classes, k)."""
    rows = np.arange(len(labels))
    w = np.ones(len(labels)) if weights is None else np.asarray(weights, dtype=np.float64)
    share = w / w.sum()
    chosen = share @ design[rows, labels]

    def loss(point: Floats) -> float:
        z = design @ point
        top = z.max(axis=1)
        normal = np.log(np.exp(z - top[:, None]).sum(axis=1)) + top
        return float(share @ normal - chosen @ point + ((point - start) ** 2).sum() / (2 * len(labels)))

    def derivatives(point: Floats) -> tuple[Floats, Floats]:
        p = _softmax(design @ point)
        mean = np.einsum("nc,nck->nk", p, design)
        second = np.einsum("nc,nck,ncl->kl", p * share[:, None], design, design, optimize=True)
        gradient = share @ mean - chosen + (point - start) / len(labels)
        return gradient, second - (mean * share[:, None]).T @ mean + np.eye(len(start)) / len(labels)

    return minimum(start, loss, derivatives)


def _logs(p: npt.ArrayLike) -> Floats:
    return np.log(np.clip(np.asarray(p, dtype=np.float64), CLIP, 1.0))


def _softmax(z: Floats) -> Floats:
    """Summed class after class, so that a row's value does not depend on how many rows there are."""
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    total = np.zeros(len(z))
    for column in powers.T:
        total = total + column
    return np.asarray(powers / total[:, None])


def _checked(p: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.intp]]:
    scores, labels = np.asarray(p, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if scores.ndim != 2 or labels.shape != (len(scores),):  # noqa: PLR2004 - rows and classes
        raise InvalidInput(
            "calibration.class_shapes",
            f"class probabilities of shape {scores.shape} do not go with labels of shape {labels.shape}",
            remedy="Give one row of probabilities and one class index for each row.",
        )
    whole = (labels == np.floor(labels)) & (labels >= 0) & (labels < scores.shape[1])
    if not np.all((scores >= 0) & (scores <= 1)) or not np.all(whole):
        raise InvalidInput(
            "calibration.class_values",
            "probabilities must lie in [0, 1] and labels be indices of their columns, without NaN",
            remedy="Drop the rows without a score or label first.",
        )
    return _logs(scores), labels.astype(np.intp)
