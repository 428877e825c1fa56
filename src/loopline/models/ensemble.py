"""Several fitted estimators that answer as one: side by side, or one after the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evaluation.kind import BINARY, Output
from loopline.models.estimator import class_places, estimate
from loopline.models.graph import How, combined, extended

Rows = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

_TWO = 2
_NUMBER = Output("regression")


class Ensemble:
    """Fitted estimators of one kind; what they give is averaged, with weights, or the greatest is taken. Made by `ensemble`."""

    def __init__(self, members: Sequence[Any], weights: Sequence[float], how: How) -> None:
        self.members, self.weights, self.how = tuple(members), tuple(weights), how
        classes = getattr(members[0], "classes_", None)
        if classes is not None:
            self.classes_ = np.asarray(classes)

    def predict_proba(self, rows: Rows) -> Floats:
        """Probabilities (n, classes) in the order of `classes_`. Raises `AttributeError` where the members have none."""
        return combined(
            [np.asarray(one.predict_proba(rows), dtype=np.float64) for one in self.members], self.weights, self.how
        )

    def predict(self, rows: Rows) -> Any:
        """The likeliest class of each row, or its values."""
        if hasattr(self, "classes_"):
            return self.classes_[self.predict_proba(rows).argmax(axis=1)]
        return combined(
            [np.asarray(one.predict(rows), dtype=np.float64) for one in self.members], self.weights, self.how
        )


class Chain:
    """Two fitted estimators: `second` takes the fields and, in the last column, the score of `first`. Made by `chain`."""

    def __init__(self, first: Any, second: Any) -> None:
        self.first, self.second = first, second
        if hasattr(second, "classes_"):
            self.classes_ = np.asarray(second.classes_)

    def predict_proba(self, rows: Rows) -> Any:
        """As `second`."""
        return self.second.predict_proba(chained(self.first, rows))

    def predict(self, rows: Rows) -> Any:
        """As `second`."""
        return self.second.predict(chained(self.first, rows))


def ensemble(members: Sequence[Any], *, weights: Sequence[float] = (), how: How = "mean") -> Ensemble:
    """Fitted estimators as one, to return from a training function: the mean of what they give, weighted by `weights` (alike by
    default), or the greatest (`how="max"`, not for several classes).

    Raises `InvalidInput` for no members, classes that differ, and weights that are not positive numbers, one for each member.
    """
    given = tuple(weights) or (1.0,) * len(members)
    if not members or len(given) != len(members) or not all(np.isfinite(one) and one > 0 for one in given):
        raise InvalidInput(
            "ensemble.weights",
            f"{len(given)} weights {list(given)} do not go with {len(members)} models",
            remedy="Give two or more models, and for each one positive weight, or none.",
        )
    classes = {tuple(np.asarray(getattr(one, "classes_", ())).tolist()) for one in members}
    if len(classes) > 1:
        raise InvalidInput(
            "ensemble.other_classes",
            f"the models of an ensemble know different classes: {sorted(map(list, classes))}",
            remedy="Fit all of them on labels of the same classes.",
        )
    if how not in {"mean", "max"} or (how == "max" and len(next(iter(classes))) > 0):
        raise InvalidInput(
            "ensemble.how",
            f"{how!r} does not combine these models",
            remedy="Use mean; max is for models of a number, for the greatest probabilities of classes do not add up to 1.",
        )
    return Ensemble(members, tuple(float(one) / float(np.sum(given)) for one in given), how)


def chain(first: Any, second: Any) -> Chain:
    """Two fitted estimators as one, to return from a training function. `second` was fitted on `chained(first, rows)`."""
    output_of(first)
    return Chain(first, second)


def chained(first: Any, rows: Rows) -> Rows:
    """`rows` (n, k) with the score of `first` as one column more: float32 (n, k + 1), what the second of a chain is fitted on. The
    score is the probability of the second of two classes, or the value.
    """
    output = output_of(first)
    return extended(rows, [estimate(first, rows, output)], [output])


def output_of(first: Any) -> Output:
    """What the first of a chain gives. Raises `InvalidInput` for what is not one number a row."""
    classes = getattr(first, "classes_", None)
    if classes is None:
        class_places(first, _NUMBER)
        return _NUMBER
    if len(classes) != _TWO:
        raise InvalidInput(
            "chain.first",
            f"the first model of a chain gives the probabilities of {len(classes)} classes, not one number",
            remedy="Put a classifier of two classes or a regressor first.",
        )
    return BINARY
