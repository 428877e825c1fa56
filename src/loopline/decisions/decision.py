"""What outputs are turned into, for every kind of model: one union, fitted from what was declared."""

from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.decisions.amount import AmountCosts, AmountDecision
from loopline.decisions.choice import ChoiceCosts, ChoiceDecision
from loopline.decisions.policy import Decision, DecisionSpec
from loopline.decisions.policy import fit as fit_threshold
from loopline.errors import InvalidInput

Floats = npt.NDArray[np.float64]


class NoCosts(msgspec.Struct, frozen=True, tag="none"):
    """Nothing is decided: whoever asks decides."""


class NoDecision(msgspec.Struct, frozen=True, tag="none"):
    """No decision; its text is empty and its cost NaN."""

    def decide(self, outputs: npt.ArrayLike) -> npt.NDArray[np.str_]:
        """Empty texts, one a row."""
        return np.full(len(np.asarray(outputs)), "", dtype=np.str_)

    def decide_each(self, outputs: npt.NDArray[np.floating[Any]]) -> list[str]:
        """As `decide`, as a list."""
        return [""] * len(outputs)

    def cost(self, decisions: npt.ArrayLike, y: npt.ArrayLike) -> Floats:  # noqa: ARG002 - as the other decisions
        """NaN in every row."""
        return np.full(len(np.asarray(y)), np.nan)


AnySpec = DecisionSpec | ChoiceCosts | AmountCosts | NoCosts
AnyDecision = Decision | ChoiceDecision | AmountDecision | NoDecision

_SPECS: dict[str, tuple[type[Any], ...]] = {
    "binary": (DecisionSpec, NoCosts),
    "multiclass": (ChoiceCosts, NoCosts),
    "regression": (AmountCosts, NoCosts),
    "quantile": (AmountCosts, NoCosts),
    "ranking": (NoCosts,),
    "multioutput": (NoCosts,),
}


def require_fit(
    spec: AnySpec,
    kind: Literal["binary", "multiclass", "regression", "quantile", "ranking", "multioutput"],
    classes: tuple[str, ...],
) -> None:
    """Raise `InvalidInput` where nothing can be decided so from the outputs of this kind of model."""
    if not isinstance(spec, _SPECS[kind]):
        raise InvalidInput(
            "decision.other_kind",
            f"{type(spec).__name__} decide nothing for a {kind} model",
            remedy="Use costs for two classes, choice_costs for several, amount_costs for numbers, or no decision.",
        )
    if isinstance(spec, ChoiceCosts):
        spec.matrix(classes)


def fit_decision(
    spec: AnySpec, reference: npt.ArrayLike, *, classes: tuple[str, ...] = (), levels: tuple[float, ...] = ()
) -> AnyDecision:
    """The decision of least expected cost. `reference` are outputs on rows such as will be scored.

    Raises `InvalidInput` as the fit of each kind of decision does.
    """
    if isinstance(spec, DecisionSpec):
        return fit_threshold(spec, reference)
    if isinstance(spec, ChoiceCosts):
        return spec.fit(reference, classes)
    return spec.fit(levels) if isinstance(spec, AmountCosts) else NoDecision()


def decode_decision(body: Any) -> AnyDecision:
    """The decision in its JSON."""
    decision: AnyDecision = msgspec.convert(body, AnyDecision)
    return decision


def only_costs(spec: AnySpec, *, classes: tuple[str, ...] = ()) -> AnyDecision:
    """A decision by which decisions that were taken can be priced, whatever they rested on."""
    if isinstance(spec, DecisionSpec):
        threshold = spec.false_positive / (spec.false_positive + spec.false_negative)
        return Decision(spec.false_positive, spec.false_negative, spec.review, threshold, threshold, threshold)
    return fit_decision(spec, np.empty((0, len(classes))), classes=classes)
