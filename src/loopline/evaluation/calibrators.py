"""Which calibration a model gets: the simplest one, unless rows it had not seen show another to be better."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.evaluation.beta import fit_beta
from loopline.evaluation.calibration import IDENTITY, fit_logistic
from loopline.evaluation.calibrator import Calibrator
from loopline.evaluation.conformal import fit_shift
from loopline.evaluation.intervals import paired_by_block
from loopline.evaluation.isotonic import fit_isotonic
from loopline.evaluation.losses import CLIP
from loopline.evaluation.softmax import fit_temperature, fit_vector

Floats = npt.NDArray[np.float64]

Fit = Callable[[Floats, Floats], Calibrator | None]

IDENTITY_NAME = "identity"
LEAST_ROWS = 50
CONFIDENCE = 0.9  # two-sided: a candidate that is no better wins one time in twenty
_FIRST, _STRETCHES, _BLOCKS = 0.4, 3, 20

BINARY: dict[str, Fit] = {"logistic": fit_logistic, "beta": fit_beta, "isotonic": fit_isotonic}
MULTICLASS: dict[str, Fit] = {"temperature": fit_temperature, "vector": fit_vector}


class Judged(msgspec.Struct, frozen=True):
    """How one candidate did on rows it was not fitted on: mean losses, and the 90 % interval of its log loss less that of the
    candidate it had to beat (None for the first).
    """

    name: str
    log_loss: float
    brier: float
    against: str | None = None
    lower: float | None = None
    upper: float | None = None


class Calibration(msgspec.Struct, frozen=True):
    """The calibrator of the model, None for none, its name, and what was held against it."""

    calibrator: Calibrator | None = None
    name: str = IDENTITY_NAME
    judged: tuple[Judged, ...] = ()

    def apply(self, outputs: npt.ArrayLike) -> Floats:
        """Calibrated outputs, float64, of the shape of `outputs`."""
        raw = np.asarray(outputs, dtype=np.float64)
        return raw if self.calibrator is None else self.calibrator.apply(raw)

    def metrics(self) -> dict[str, float]:
        """The figures by name, for a run."""
        return {
            f"calibration_{one.name}_{name}": value
            for one in self.judged
            for name, value in (("log_loss", one.log_loss), ("brier", one.brier))
        }


def choose(kind: str, outputs: npt.ArrayLike, y: npt.ArrayLike, *, levels: Sequence[float] = ()) -> Calibration:
    """The calibration for unseen `outputs` of a model and what came, `y` (rows,), in order of time.

    For "binary" and "multiclass", candidates from the simplest on are each fitted on the rows before a stretch and judged on
    it, three stretches over the last 60 % of the rows. One replaces the simpler one where the 90 % interval of its log loss
    less the other's, over twenty blocks in time, lies below zero; below 50 rows none can. The winner is fitted on all rows.
    For "quantile" it is the conformal shift; other kinds have none. Raises `InvalidInput` for shapes and values that do not
    go together.
    """
    scores, labels = np.asarray(outputs, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if kind == "quantile":
        return Calibration(fit_shift(scores, labels, tuple(levels)), "quantile_shift")
    candidates = {"binary": BINARY, "multiclass": MULTICLASS}.get(kind)
    if candidates is None or len(labels) < LEAST_ROWS:
        return Calibration()
    return _contest(candidates, scores, labels)


def _contest(candidates: dict[str, Fit], scores: Floats, labels: Floats) -> Calibration:
    start = int(len(labels) * _FIRST)
    blocks = np.arange(len(labels) - start) * _BLOCKS // (len(labels) - start)
    judged, best, name = [_plain(scores[start:], labels[start:])], log_losses(scores, labels)[start:], IDENTITY_NAME
    for candidate, fit in candidates.items():
        unseen = _out_of_sample(fit, scores, labels, start)
        if unseen is None:
            continue
        losses = log_losses(unseen, labels[start:])
        apart = paired_by_block(losses, best, blocks, CONFIDENCE)
        figures = float(losses.mean()), _brier(unseen, labels[start:])
        judged.append(Judged(candidate, *figures, against=name, lower=apart.lower, upper=apart.upper))
        if apart.upper < 0:
            best, name = losses, candidate
    chosen = None if name == IDENTITY_NAME else candidates[name](scores, labels)
    return Calibration(chosen, name if chosen is not None else IDENTITY_NAME, tuple(judged))


def _out_of_sample(fit: Fit, scores: Floats, labels: Floats, start: int) -> Floats | None:
    """Calibrated outputs of the rows from `start` on, each stretch by what the rows before it say; None where they say nothing."""
    edges = np.linspace(start, len(labels), _STRETCHES + 1).astype(int)
    parts = []
    for begin, end in pairwise(edges):
        fitted = fit(scores[:begin], labels[:begin])
        if fitted is None or fitted == IDENTITY:
            return None
        parts.append(fitted.apply(scores[begin:end]))
    return np.concatenate(parts)


def _plain(scores: Floats, labels: Floats) -> Judged:
    return Judged(IDENTITY_NAME, float(log_losses(scores, labels).mean()), _brier(scores, labels))


def log_losses(p: Floats, y: Floats) -> Floats:
    """Minus the log of the probability given to what came, row by row: `p` (n,) of a 1, or (n, classes)."""
    inside = np.clip(_given_to(p, y), CLIP, 1 - CLIP)
    return np.asarray(-np.log(inside))


def _brier(p: Floats, y: Floats) -> float:
    if p.ndim == 1:
        return float(((p - y) ** 2).mean())
    hits = np.arange(p.shape[1]) == y[:, None]
    return float(((p - hits) ** 2).sum(axis=1).mean())


def _given_to(p: Floats, y: Floats) -> Floats:
    return np.where(y == 1, p, 1 - p) if p.ndim == 1 else p[np.arange(len(y)), y.astype(np.intp)]
