"""Decide anew: a decision is fitted for the champion that serves, tried, shown, and put in force. The model stays as it is."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl
import structlog

from loopline.clock import SystemClock
from loopline.decisions.decision import AnySpec, decode_decision
from loopline.decisions.expected import expected_costs, smoke_test
from loopline.decisions.policy import Decision, DecisionSpec, costs
from loopline.errors import InvalidInput, NotFound
from loopline.evaluation.intervals import Interval, mean_by_block, paired_by_block
from loopline.gates.promotion import CHAMPION
from loopline.incidents.actions import Cause
from loopline.incidents.freeze import frozen
from loopline.ledger import chain
from loopline.loop.decision_approval import about_decision, ask_to_decide, may_decide
from loopline.loop.decision_reference import DecisionReference, of_champion
from loopline.loop.decision_terms import (
    DecisionTerms,
    Origin,
    declaration_changed,
    evidence_of,
    terms_in_force,
)
from loopline.loop.deployment import declared_costs, declared_output, publish, put_decision
from loopline.loop.resources import Resources
from loopline.models import decision_versions, registry
from loopline.scoring.record import prediction_table
from loopline.storage.database import Transaction
from loopline.values import micros

log = structlog.get_logger(__name__)

RECENT = timedelta(days=28)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asks to be decided on; what is not said stays as it is in force."""

    false_positive: float | None = None
    false_negative: float | None = None
    review: float | None = None
    abstain_at_most: float | None = None
    threshold: float | None = None


class Effect(msgspec.Struct, frozen=True):
    """What a decision costs per prediction where another did, over the same rows and at the same prices: those of the new one."""

    rows: int
    before: Interval
    after: Interval
    difference: Interval


class Proposal(msgspec.Struct, frozen=True):
    """A decision as it would be, and what it would change.

    `measured` is on the champion's held-out rows, by their labels; `recent` on the predictions logged in the last 28
    days, by their calibrated scores; either is None where there are no rows. `changed` is the share of those predictions that would be decided
    otherwise. `version` is its number once it is in force, `approval` the request that it waits for.
    """

    model: str
    champion: int
    before: int | None
    terms: DecisionTerms
    decision: Decision
    measured: Effect | None
    recent: Effect | None
    changed: float | None
    version: int | None = None
    approval: str | None = None

    @property
    def sentence(self) -> str:
        """In words."""
        decided = "is in force" if self.version else "would decide"
        name = f"Decision {self.version}" if self.version else "This decision"
        share = "" if self.changed is None else f"; it changes {100 * self.changed:.1f} % of recent decisions"
        waits = (
            f" It waits for approval {self.approval}: when it is given, ask for the same again."
            if self.approval
            else ""
        )
        return (
            f"{name} {decided} for {self.model}:{self.champion}, threshold {self.decision.threshold:.4g}{share}.{waits}"
        )


def propose(resources: Resources, *, project: str, model: str, asked: Asked) -> Proposal:
    """Fit the decision that is asked for on the champion's reference scores, try it, and say what it would change. Changes nothing.

    Raises `NotFound` without a champion or its reference, and `InvalidInput` for costs that are none.
    """
    with resources.database.reading() as tx:
        declared = _declared(tx, project, model)
        terms = _asked_terms(terms_in_force(tx, project, model, declared), asked)
        champion, reference = of_champion(resources, tx, project, model)
        current = decision_versions.current_decision(tx, project, model)
    decision, before = _decisions(terms, reference, current.body if current else None)
    smoke_test(decision, reference.scores, abstain_at_most=_abstain_at_most(terms))
    scores, days = _recent(resources, project, model)
    return Proposal(
        model=model,
        champion=champion,
        before=current.version if current else None,
        terms=terms,
        decision=decision,
        measured=_measured(reference, before, decision),
        recent=_expected(scores, days, before, decision),
        changed=float((before.decide(scores) != decision.decide(scores)).mean()) if len(scores) else None,
    )


def _decisions(terms: DecisionTerms, reference: DecisionReference, body: Any) -> tuple[Decision, Decision]:
    """The decision that is asked for, and the one in force: between two classes, both."""
    decision = terms.fit(reference.scores)
    before = decision if body is None else decode_decision(body)
    if not isinstance(decision, Decision) or not isinstance(before, Decision):
        raise _not_by_threshold()
    return decision, before


def _abstain_at_most(terms: DecisionTerms) -> float:
    return terms.spec.abstain_at_most if isinstance(terms.spec, DecisionSpec) else 0.0


def _not_by_threshold() -> InvalidInput:
    return InvalidInput(
        "decision.not_by_threshold",
        "this model does not decide between two classes",
        remedy="Change the costs in the loop file and `loopline apply` it: the champion's decision follows.",
    )


def decide(resources: Resources, *, project: str, model: str, asked: Asked, actor: str, reason: str) -> Proposal:
    """Make what is asked for the decision in force, by a person's word, and publish it. Where production takes approvals it is asked
    for first; asked again when that was given, it comes into force. Raises as `propose`.
    """
    proposal = propose(resources, project=project, model=model, asked=asked)
    at = resources.clock.now()
    cause = Cause(key=f"{model}:decide:{micros(at)}", sentence=reason, actor=actor, at=at)
    with resources.database.transaction() as tx:
        _, reference = of_champion(resources, tx, project, model)
        declared = _declared(tx, project, model)
        about = about_decision(tx, project, model, proposal.champion, proposal.terms.fit(reference.scores))
        if not may_decide(tx, about, cause):
            waiting = ask_to_decide(tx, about, cause)
            return msgspec.structs.replace(proposal, approval=waiting.id if waiting else None)
        version = put_in_force(
            tx, project, model, proposal.terms, reference, declared, cause, origin="person", champion=proposal.champion
        )
    publish(resources, project, at=SystemClock().now())
    return msgspec.structs.replace(proposal, version=version)


def put_in_force(
    tx: Transaction,
    project: str,
    model: str,
    terms: DecisionTerms,
    reference: DecisionReference,
    declared: AnySpec,
    cause: Cause,
    *,
    origin: Origin,
    champion: int,
) -> int:
    """Register the decision that follows from the terms and let it decide, with its ledger entry; gives its number."""
    decision = terms.fit(reference.scores)
    evidence = evidence_of(
        reference,
        decision,
        origin=origin,
        reason=cause.sentence,
        terms=terms,
        declared=declared,
        champion=champion,
    )
    current = decision_versions.current_decision(tx, project, model)
    version = put_decision(tx, project, model, msgspec.to_builtins(decision), cause, evidence=evidence)
    chain.append(
        tx,
        project=project,
        at=cause.at,
        kind="decision.changed",
        actor=cause.actor,
        subject=f"{model}:decision:{version}",
        body={
            "model": model,
            "decision": version,
            "replaces": current.version if current else None,
            "terms": msgspec.to_builtins(terms),
            "evidence": {"cause": cause.sentence, "expected_cost": evidence["expected"], "champion": champion},
            "sentence": f"Decision {version} replaces {current.version if current else 'none'} for {model}:{champion}.",
        },
        key=f"decided:{cause.key}",
    )
    return version


def follow_declaration(
    resources: Resources, *, project: str, model: str, actor: str, at: datetime, replayed: bool = False
) -> int | None:
    """Where the applied loop declares other costs than it did, fit them for the champion that serves; gives the decision's number
    if it is new.

    A freeze holds it back, and so does a champion without the scores that the declared band is sized on. Where production takes
    approvals it is asked for, once, and follows when that is given; `replayed`, it is taken to be.
    """
    with resources.database.reading() as tx:
        if not _to_follow(tx, project, model):
            return None
    cause = Cause(key=f"{model}:declared:{micros(at)}", sentence="the loop declares other costs", actor=actor, at=at)
    with resources.database.transaction() as tx:
        declared = declared_costs(tx, project, model)
        if declared is None or not _to_follow(tx, project, model):
            return None
        champion, reference = of_champion(resources, tx, project, model)
        terms = DecisionTerms(declared, output=declared_output(tx, project, model))
        try:
            about = None if replayed else about_decision(tx, project, model, champion, terms.fit(reference.scores))
            if not may_decide(tx, about, cause):
                ask_to_decide(tx, about, cause, again=False)
                return None
            return put_in_force(
                tx, project, model, terms, reference, declared, cause, origin="declaration", champion=champion
            )
        except InvalidInput as error:
            log.warning("decision_kept", project=project, model=model, why=error.message)
            return None


def follow_declarations(resources: Resources, project: str, models: Sequence[str], *, actor: str) -> None:
    """`follow_declaration` of several models, and what follows published."""
    at = resources.clock.now()
    followed = [follow_declaration(resources, project=project, model=model, actor=actor, at=at) for model in models]
    if any(number is not None for number in followed):
        publish(resources, project, at=SystemClock().now())


def _to_follow(tx: Transaction, project: str, model: str) -> bool:
    declared = declared_costs(tx, project, model)
    return (
        declared is not None
        and declaration_changed(tx, project, model, declared)
        and frozen(tx, project) is None
        and registry.alias(tx, project, model, CHAMPION) is not None
    )


def _declared(tx: Transaction, project: str, model: str) -> AnySpec:
    found = declared_costs(tx, project, model)
    if found is None:
        raise NotFound(
            "decision.not_operated",
            f"no applied loop operates {model} in {project}",
            remedy="Apply a loop file that does: `loopline apply FILE`.",
        )
    return found


def _asked_terms(present: DecisionTerms, asked: Asked) -> DecisionTerms:
    said: dict[str, Any] = {name: value for name, value in msgspec.structs.asdict(asked).items() if value is not None}
    if not said:
        raise InvalidInput(
            "decision.nothing_asked",
            "nothing was said of how to decide",
            remedy="Give costs, --abstain-at-most or --threshold.",
        )
    threshold = said.pop("threshold", None)
    spec = present.spec
    if not isinstance(spec, DecisionSpec):
        raise _not_by_threshold()
    priced = {"false_positive", "false_negative"} & set(said)
    if not priced and "review" not in said:
        said["review"] = spec.review
    merged = {
        name: said.get(name, getattr(spec, name)) for name in ("false_positive", "false_negative", "abstain_at_most")
    }
    return DecisionTerms(costs(**merged, review=said.get("review")), threshold)


def _recent(resources: Resources, project: str, model: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores and days of the predictions of the last 28 days."""
    name = prediction_table(project, model)
    if not resources.tables.exists(name):
        return np.empty(0), np.empty(0)
    since = resources.clock.now() - RECENT
    rows = resources.tables.open(name).read(event_after=since, columns=["_event_time", "score", "model_version"])
    rows = rows.filter((pl.col("model_version") > 0) & pl.col("score").is_not_null())
    return rows["score"].to_numpy(), rows["_event_time"].dt.truncate("1d").to_numpy()


def _measured(reference: DecisionReference, before: Decision, after: Decision) -> Effect | None:
    if not reference.held_out:
        return None
    return _effect(reference.costs(before, after), reference.costs(after), np.array(reference.blocks))


def _expected(scores: np.ndarray, days: np.ndarray, before: Decision, after: Decision) -> Effect | None:
    if not len(scores):
        return None
    was, is_ = (expected_costs(after, found.decide(scores), scores) for found in (before, after))
    return _effect(was, is_, days)


def _effect(was: np.ndarray, is_: np.ndarray, blocks: np.ndarray) -> Effect:
    return Effect(len(was), mean_by_block(was, blocks), mean_by_block(is_, blocks), paired_by_block(is_, was, blocks))
