"""The terms a model is decided on: the declaration's costs, or those a person set since. They outlive retrains."""

from typing import Any, Literal

import msgspec

from loopline.decisions.decision import AnyDecision, AnySpec, fit_decision
from loopline.decisions.expected import at_threshold
from loopline.decisions.policy import DecisionSpec
from loopline.evaluation.intervals import Interval
from loopline.evaluation.kind import BINARY, Output
from loopline.loop.decision_reference import DecisionReference
from loopline.models import decision_versions
from loopline.models.decision_versions import DecisionVersion
from loopline.storage.database import Transaction

DECIDED = "decision_evidence"
"""Where a version's lineage holds the evidence of the decision it was trained with."""

Origin = Literal["promotion", "declaration", "person", "playbook"]


class DecisionTerms(msgspec.Struct, frozen=True):
    """What a decision is fitted from: costs, the outputs they are for, and perhaps a threshold that a person named."""

    spec: AnySpec
    threshold: float | None = None
    output: Output = BINARY

    def fit(self, outputs: Any) -> AnyDecision:
        """The decision that follows, with its band sized on `outputs`."""
        if self.threshold is not None and isinstance(self.spec, DecisionSpec):
            return at_threshold(self.spec, self.threshold)
        return fit_decision(self.spec, outputs, classes=self.output.classes, levels=self.output.levels)


class DecisionEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept with a decision version: where it came from, its terms, the costs declared at that time, the champion whose
    scores it was fitted on, and what it was expected to cost per prediction on rows held out (an interval over blocks).
    """

    origin: Origin
    reason: str
    terms: DecisionTerms
    declared: AnySpec
    champion: int | None
    expected: Interval | None


def evidence_of(
    reference: DecisionReference | None,
    decision: AnyDecision,
    *,
    origin: Origin,
    reason: str,
    terms: DecisionTerms,
    declared: AnySpec,
    champion: int | None,
) -> dict[str, Any]:
    """As it is kept."""
    expected = reference.cost(decision) if reference else None
    made = DecisionEvidence(
        origin=origin, reason=reason, terms=terms, declared=declared, champion=champion, expected=expected
    )
    told: dict[str, Any] = msgspec.to_builtins(made)
    return told


def terms_in_force(
    tx: Transaction, project: str, model: str, declared: AnySpec, output: Output = BINARY
) -> DecisionTerms:
    """Those of the decision in force; the declared ones before the first, and where the declaration changed since."""
    current = decision_versions.current_decision(tx, project, model)
    if current is None or "terms" not in current.evidence or declaration_changed(tx, project, model, declared):
        return DecisionTerms(declared, output=output)
    return msgspec.convert(current.evidence["terms"], DecisionTerms)


def declaration_changed(tx: Transaction, project: str, model: str, declared: AnySpec) -> bool:
    """Whether the loop declares other costs than when the newest decision was made."""
    known = newest(tx, project, model)
    return known is not None and "declared" in known.evidence and _spec(known.evidence["declared"]) != declared


def newest(tx: Transaction, project: str, model: str) -> DecisionVersion | None:
    """The decision registered last, in force or not."""
    known = decision_versions.decisions(tx, project, model)
    return known[-1] if known else None


def _spec(said: Any) -> AnySpec:
    found: AnySpec = msgspec.convert(said, AnySpec)
    return found
