"""Measures of a lane: the fallback serves, the band is wider, a source is not asked; until the incidents that they answer are over."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from loopline.decisions.policy import DecisionSpec
from loopline.errors import InvalidInput
from loopline.gates.promotion import CHAMPION
from loopline.gates.smoke import smoke_test
from loopline.incidents import incident, measures
from loopline.incidents.actions import Cause, Outcome, Prepared
from loopline.incidents.measures import QUARANTINE_SOURCE, SERVE_FALLBACK, WIDEN_BAND, Measure
from loopline.ledger import chain
from loopline.loop.decide import put_in_force
from loopline.loop.decision_approval import about_decision, ask_to_decide, may_decide
from loopline.loop.decision_reference import of_champion
from loopline.loop.decision_terms import DecisionTerms, terms_in_force
from loopline.loop.deployment import Predictors, declared_costs, resting
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources
from loopline.models import registry
from loopline.monitoring.diagnosis.cause import BROKEN
from loopline.storage.database import Transaction


def in_force(tx: Transaction, lane: Lane, name: str) -> bool:
    """Whether the measure is in force; a fallback is over, too, where another champion came."""
    if name == SERVE_FALLBACK:
        return resting(tx, lane.project, lane.model)
    return measures.in_force(tx, lane.project, lane.model, name)


def prepare_fallback(lane: Lane, cause: Cause) -> Prepared:
    """The declared fallback answers in production; the champion stays who it is, and rests."""

    def commit(tx: Transaction) -> Outcome:
        champion = registry.alias(tx, lane.project, lane.model, CHAMPION)
        answers = _answers(tx, lane)
        if champion is None or not answers:
            return _nothing_to_answer("serves the fallback")
        told = f"The fallback answers in place of version {champion} until {_told(answers)} is over."
        return _begun(tx, lane, cause, SERVE_FALLBACK, told, answers, {"version": champion})

    return Prepared(commit)


def prepare_end_fallback(lane: Lane, predictors: Predictors, cause: Cause) -> Prepared:
    """The champion answers again, after it has shown that it still can. Raises `Corrupt` where it is not what was signed."""

    def commit(tx: Transaction) -> Outcome:
        champion = registry.alias(tx, lane.project, lane.model, CHAMPION)
        if champion is not None:
            smoke_test(predictors.version(tx, lane.project, lane.model, champion))
        return _ended(tx, lane, cause, SERVE_FALLBACK, f"Version {champion} answers again.")

    return Prepared(commit)


def prepare_widening(resources: Resources, lane: Lane, cause: Cause) -> Prepared:
    """A decision that may abstain on more rows comes into force, by the costs of the one before.

    Raises `InvalidInput` where the model decides by no band. Where production takes approvals it is asked for, and given when the playbook
    asks again; a replay takes it to be.
    """

    def commit(tx: Transaction) -> Outcome:
        declared = declared_costs(tx, lane.project, lane.model) or lane.operation.decide
        before = terms_in_force(tx, lane.project, lane.model, declared, lane.operation.model.output)
        wider = _wider(before, float(cause.terms["to"]))
        answers = _answers(tx, lane)
        if wider == before or not answers:
            return _nothing_to_answer("widens the band")
        champion, reference = of_champion(resources, tx, lane.project, lane.model)
        about = (
            None
            if lane.replayed
            else about_decision(tx, lane.project, lane.model, champion, wider.fit(reference.scores))
        )
        if not may_decide(tx, about, cause):
            asked = ask_to_decide(tx, about, cause, again=False)
            return Outcome(
                changed=False, sentence=f"It waits for approval {asked.id if asked else 'that was refused'}."
            )
        scope = (tx, lane.project, lane.model)
        number = put_in_force(*scope, wider, reference, declared, cause, origin="playbook", champion=champion)
        told = f"Decision {number} may abstain on {cause.terms['to']:.0%} of the rows until {_told(answers)} is over."
        evidence = {"before": msgspec.to_builtins(before), "wider": msgspec.to_builtins(wider)}
        return _begun(tx, lane, cause, WIDEN_BAND, told, answers, evidence)

    return Prepared(commit)


def prepare_narrowing(resources: Resources, lane: Lane, cause: Cause) -> Prepared:
    """The terms from before the band was widened decide again, for the champion of now; those that a person set since are left."""

    def commit(tx: Transaction) -> Outcome:
        found = measures.measure(tx, lane.project, lane.model, WIDEN_BAND)
        declared = declared_costs(tx, lane.project, lane.model) or lane.operation.decide
        now = terms_in_force(tx, lane.project, lane.model, declared, lane.operation.model.output)
        if found is None or now != msgspec.convert(found.evidence["wider"], DecisionTerms):
            return _ended(tx, lane, cause, WIDEN_BAND, "The decision was changed since; it is left as it is.")
        champion, reference = of_champion(resources, tx, lane.project, lane.model)
        before = msgspec.convert(found.evidence["before"], DecisionTerms)
        scope = (tx, lane.project, lane.model)
        number = put_in_force(*scope, before, reference, declared, cause, origin="playbook", champion=champion)
        return _ended(tx, lane, cause, WIDEN_BAND, f"Decision {number} abstains as before.")

    return Prepared(commit)


def prepare_quarantine(lane: Lane, cause: Cause) -> Prepared:
    """The sources of the inputs that are broken are not asked until that is over; then they are asked for all of the time between.

    In a replay they are asked all the same: its policies share one ingestion.
    """

    def commit(tx: Transaction) -> Outcome:
        answers = _answers(tx, lane)
        tables = sorted({table for one in answers for table in _broken_tables(lane, one)})
        if not tables:
            return _nothing_to_answer("quarantines a source")
        evidence = {"tables": [] if lane.replayed else tables, "meant": tables}
        told = f"{' and '.join(tables)} is asked for no more rows until {_told(answers)} is over."
        return _begun(tx, lane, cause, QUARANTINE_SOURCE, told, answers, evidence)

    return Prepared(commit)


def prepare_release(lane: Lane, cause: Cause) -> Prepared:
    """The sources are asked again."""

    def commit(tx: Transaction) -> Outcome:
        found = measures.measure(tx, lane.project, lane.model, QUARANTINE_SOURCE)
        tables = found.evidence["meant"] if found else []
        return _ended(tx, lane, cause, QUARANTINE_SOURCE, f"{' and '.join(tables)} is asked again.")

    return Prepared(commit)


def ending(found: Measure) -> str:
    """Why a measure ends, in words."""
    return f"what {found.name} answered since {found.since:%Y-%m-%d %H:%M} UTC is over"


def _wider(before: DecisionTerms, to: float) -> DecisionTerms:
    if not isinstance(before.spec, DecisionSpec) or before.threshold is not None:
        raise InvalidInput(
            "decision.no_band",
            "this model decides by no band that could be widened",
            remedy="Only costs between two classes have one; a threshold that a person named has none.",
        )
    if before.spec.abstain_at_most >= to:
        return before
    return msgspec.structs.replace(before, spec=msgspec.structs.replace(before.spec, abstain_at_most=to))


def open_incidents(tx: Transaction, lane: Lane, also: Sequence[str] = ()) -> list[incident.Incident]:
    """The open incidents of the model, and of the tables `also`."""
    found = incident.find(tx, lane.project, only_open=True)
    return [one for one in found if one.model in {lane.model, *also}]


def _answers(tx: Transaction, lane: Lane) -> list[incident.Incident]:
    """The open incidents of the model and of what it reads."""
    return open_incidents(tx, lane, lane.recipe.tables)


def _broken_tables(lane: Lane, found: incident.Incident) -> Iterator[str]:
    """Tables that the incident's causes point at; not that of the rows to be scored, which come whatever is asked."""
    behind = {name: view.table for view in lane.operation.model.views for name in view.features}
    for one in found.diagnosis:
        if one.get("kind") in BROKEN:
            named = {str(one.get("column", "")), *one.get("columns", ())}
            yield from {behind[name] for name in named if name in behind} - {lane.recipe.table}


def _told(answers: list[incident.Incident]) -> str:
    return " and ".join(one.id for one in answers)


def _nothing_to_answer(what: str) -> Outcome:
    return Outcome(changed=False, sentence=f"Nothing {what}: no open incident that it would answer.")


def _begun(
    tx: Transaction,
    lane: Lane,
    cause: Cause,
    name: str,
    told: str,
    answers: list[incident.Incident],
    evidence: dict[str, Any],
) -> Outcome:
    whole = {**evidence, "answers": [one.id for one in answers]}
    _record(tx, lane, cause, "measure.begun", name, told, whole)
    return Outcome(changed=True, sentence=told, evidence=whole)


def _ended(tx: Transaction, lane: Lane, cause: Cause, name: str, told: str) -> Outcome:
    _record(tx, lane, cause, "measure.ended", name, told, {})
    return Outcome(changed=True, sentence=told)


def _record(
    tx: Transaction, lane: Lane, cause: Cause, kind: str, name: str, told: str, evidence: dict[str, Any]
) -> None:
    chain.append(
        tx,
        project=lane.project,
        at=cause.at,
        kind=kind,
        actor=cause.actor,
        subject=f"{lane.model}:{name}",
        body={"measure": name, "cause": cause.sentence, "sentence": told, **evidence},
        key=f"{kind}:{cause.key}",
    )
