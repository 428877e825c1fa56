"""Retrain: a training set, one fit, a package with its proof, gates, and perhaps a new champion."""

import inspect
import time
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import polars as pl
import structlog

from loopline.decisions.decision import AnyDecision, AnySpec
from loopline.evaluation.kind import as_column, from_column
from loopline.evaluation.losses import losses_of, named
from loopline.features.definitions import views_digest
from loopline.gates.check import Comparison, Verdict, examine_all
from loopline.gates.promotion import CHAMPION
from loopline.incidents.actions import Cause, Outcome, Prepared
from loopline.ledger import chain
from loopline.loop.challenger import keep_challenger
from loopline.loop.code import code_digest
from loopline.loop.decision_reference import REFERENCE, DecisionReference, keep, reference_of
from loopline.loop.decision_terms import DECIDED, DecisionTerms, evidence_of, terms_in_force
from loopline.loop.deployment import Predictors, declared_costs
from loopline.loop.discreet import discreet
from loopline.loop.documents import PURPOSE, decided, rows_explained, write_documents
from loopline.loop.fit_job import made
from loopline.loop.forecasting import brought
from loopline.loop.history import History
from loopline.loop.inputs import PROFILE, freeze_inputs
from loopline.loop.lane import Lane, training_seed
from loopline.loop.personal_fields import personal_fields
from loopline.loop.promise import further_promised, promised
from loopline.loop.rebuild import REBUILD, rebuilt_from
from loopline.loop.release import release, route_of
from loopline.loop.resources import Resources
from loopline.loop.search import Tuned, tuned
from loopline.loop.training_rows import table_versions, training_rows
from loopline.loop.trainings import Trainings
from loopline.models import registry
from loopline.models.package import PAYLOAD_TYPE, ModelPackage
from loopline.models.signature import Signature
from loopline.models.signing import sign
from loopline.runs import tracking
from loopline.runs.run import Input
from loopline.storage.database import Transaction
from loopline.training.fit import prepared
from loopline.training.leaks import leak_suspects
from loopline.training.outcome import FitOutcome
from loopline.training.training_set import GROUP, LabelledRows
from loopline.values import canonical_json, derive_id, derive_seed, digest

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A model that was fitted, packaged and scored on rows it had not seen; not yet registered."""

    fitted: FitOutcome
    signature: Signature
    package: ModelPackage
    envelope: str
    declared: AnySpec
    terms: DecisionTerms
    decision: AnyDecision
    reference: DecisionReference
    trained_on: LabelledRows
    held_out: pl.DataFrame
    leaks: dict[str, float]
    table_versions: dict[str, int]
    inputs_profile: str
    documents: dict[str, str]
    tuned: Tuned
    seed: int


def prepare_retrain(
    resources: Resources,
    lane: Lane,
    history: History,
    predictors: Predictors,
    cause: Cause,
    *,
    trainings: Trainings[Candidate] | None = None,
) -> Prepared:
    """Train a candidate on all that is known at `cause.at` and judge it; committing registers it and promotes it if it passed.

    With `trainings` a candidate that another lane of a replay made of the same is taken; the seconds told are those it took.
    """
    began = time.perf_counter()
    with resources.database.reading() as tx:
        declared = declared_costs(tx, lane.project, lane.model) or lane.operation.decide
        terms = terms_in_force(tx, lane.project, lane.model, declared, lane.operation.model.output)
    rests_on = _rests_on(resources, lane, cause, terms, declared)
    trained = (trainings or Trainings[Candidate]()).once(
        cause.at, rests_on, lambda: _train(resources, lane, history, predictors, cause, terms, declared)
    )
    candidate = trained.made
    with resources.database.reading() as tx:
        champion = registry.alias(tx, lane.project, lane.model, CHAMPION)
        comparison = _compare(tx, lane, predictors, candidate, champion)
        gained = _brought(tx, lane, candidate, comparison, champion)
    shown = msgspec.structs.replace(comparison, rows=discreet(resources, lane, comparison.rows))
    verdicts = examine_all(lane.operation.promote, shown)
    reference = keep(resources.artifacts, candidate.reference)
    spent = time.perf_counter() - began
    seconds = (
        {"train": spent} if not trained.elsewhere else {"train": spent + trained.seconds, "shared": trained.seconds}
    )

    def commit(tx: Transaction) -> Outcome:
        return _commit(tx, lane, cause, candidate, verdicts, {REFERENCE: reference, **gained}, seconds)

    return Prepared(commit, seconds)


def _rests_on(resources: Resources, lane: Lane, cause: Cause, terms: DecisionTerms, declared: AnySpec) -> str:
    """All that the candidate depends on but the moment. A search is the lane's own."""
    own = lane.project if lane.operation.model.search or not lane.replayed else ""
    told = {"model": lane.model, "seed": lane.seed, "tables": table_versions(resources, lane), "own": own}
    said = {"terms": msgspec.to_builtins(terms), "declared": msgspec.to_builtins(declared), "search": cause.search}
    return digest(canonical_json(told | said))


def _train(
    resources: Resources,
    lane: Lane,
    history: History,
    predictors: Predictors,
    cause: Cause,
    terms: DecisionTerms,
    declared: AnySpec,
) -> Candidate:
    model = lane.operation.model
    versions = table_versions(resources, lane)
    trained_on, held_out = training_rows(resources, lane, history, cause.at)
    _tell_of_reviews(lane, trained_on)
    found = tuned(resources, lane, trained_on, cause)
    seed = training_seed(lane, cause.at.isoformat())
    personal = personal_fields(resources, lane.project, lane.model)
    signature, whole = prepared(trained_on, seed=seed, personal=personal)
    explained = rows_explained(resources, lane, signature, whole, held_out.frame)
    fitted = made(resources, model, found.params, signature, whole, seed=seed, explained=explained)
    package = fitted.package
    resources.artifacts.put(package.encoded())
    envelope = resources.artifacts.put(sign(resources.key, PAYLOAD_TYPE, package.encoded()))
    predictor = predictors.load(package.digest, envelope)
    leaks = leak_suspects(whole)
    if leaks:
        log.warning("leak_suspects", model=lane.model, features=leaks, why="they tell the label almost perfectly")
    decision = terms.fit(fitted.unseen_scores)
    scored = held_out.frame.with_columns(as_column("candidate", predictor.predict(held_out.frame)))
    scored = decided(scored, decision)
    return Candidate(
        fitted,
        signature,
        package,
        envelope,
        declared,
        terms,
        decision,
        reference_of(fitted.unseen_scores, scored, lane.operation.watch.block),
        trained_on,
        scored,
        leaks,
        versions,
        freeze_inputs(resources, lane, trained_on),
        write_documents(resources, lane, whole, fitted.summary, predictor, scored),
        found,
        seed,
    )


def _tell_of_reviews(lane: Lane, rows: LabelledRows) -> None:
    reviews = rows.pins.get("reviews")
    if reviews is not None and reviews.warning:
        log.warning("reviews_carry_little", model=lane.model, why=reviews.warning, reviewed=reviews.reviewed)


def _compare(
    tx: Transaction, lane: Lane, predictors: Predictors, candidate: Candidate, champion: int | None
) -> Comparison:
    rows = candidate.held_out
    output = lane.operation.model.output
    if champion is None:
        constant = output.shaped(lane.operation.model.fallback)
        scores, name = np.repeat(constant, rows.height, axis=0), "the declared fallback"
    else:
        scores, name = (
            predictors.version(tx, lane.project, lane.model, champion).predict(rows),
            f"version {champion}",
        )
    block = pl.col("_event_time").dt.truncate(lane.operation.watch.block)
    both = rows.with_columns(as_column("champion", scores), block=block)
    return Comparison(both, "the candidate", name, output)


def _brought(
    tx: Transaction, lane: Lane, candidate: Candidate, comparison: Comparison, champion: int | None
) -> dict[str, Any]:
    against = None if champion is None else registry.get_version(tx, lane.project, lane.model, champion)
    rows = candidate.trained_on.frame.height + candidate.held_out.height
    return brought(comparison, lane.operation.watch.loss, rows=rows, champion=against)


def _commit(
    tx: Transaction,
    lane: Lane,
    cause: Cause,
    candidate: Candidate,
    verdicts: list[Verdict],
    judged: dict[str, Any],
    seconds: dict[str, float],
) -> Outcome:
    run_id = _log_run(tx, lane, cause, candidate)
    passed = all(verdict.passed for verdict in verdicts)
    decided = _decision_evidence(cause, candidate)
    version = registry.register_version(
        tx,
        project=lane.project,
        model=lane.model,
        package=candidate.package.digest,
        envelope=candidate.envelope,
        run_id=run_id,
        lineage=_lineage(lane, candidate)
        | {DECIDED: decided, **judged}
        | (_promised(tx, lane, candidate) if passed else {}),
        metrics=_metrics(candidate),
        at=cause.at,
        cause=cause.key,
        created_by=cause.actor,
    )
    evidence = {
        "cause": cause.sentence,
        "package": candidate.package.digest,
        "metrics": _metrics(candidate),
        "expected_cost": decided["expected"],
        "verdicts": [msgspec.to_builtins(verdict) for verdict in verdicts],
    }
    subject, found = f"{lane.model}:{version.version}", {**evidence, "leak_suspects": candidate.leaks}
    chain.append(
        tx,
        project=lane.project,
        at=cause.at,
        kind="version.registered",
        actor=cause.actor,
        subject=subject,
        body=found,
        key=f"registered:{cause.key}",
        measured=seconds,
    )
    if not passed:
        keep_challenger(tx, lane, version, cause)
        failed = "; ".join(verdict.sentence for verdict in verdicts if not verdict.passed)
        return Outcome(
            changed=False,
            sentence=f"Version {version.version} was trained and not promoted: {failed}",
            evidence=evidence,
        )
    return release(tx, route_of(lane), version, cause, evidence)


def _decision_evidence(cause: Cause, candidate: Candidate) -> dict[str, Any]:
    return evidence_of(
        candidate.reference,
        candidate.decision,
        origin="promotion",
        reason=cause.sentence,
        terms=candidate.terms,
        declared=candidate.declared,
        champion=None,
    )


def _promised(tx: Transaction, lane: Lane, candidate: Candidate) -> dict[str, Any]:
    served = lane.operation.model.output.column
    held_out = candidate.held_out.rename({"_event_time": "at", "candidate": served, GROUP: "group"}, strict=False)
    rows = held_out.select(name for name in ("at", served, "label", "group") if name in held_out.columns)
    told = promised(tx, lane, rows, candidate.decision)
    return told | further_promised(lane, held_out) if told else told


def _log_run(tx: Transaction, lane: Lane, cause: Cause, candidate: Candidate) -> str:
    run_id = derive_id("run", lane.seed, lane.project, lane.model, cause.key)
    tracking.start(tx, project=lane.project, experiment=lane.model, run_id=run_id, at=cause.at)
    tracking.log_params(tx, run_id, candidate.tuned.params)
    tracking.log_metrics(tx, run_id, _metrics(candidate), at=cause.at)
    tracking.log_inputs(tx, run_id, _inputs(candidate))
    tracking.log_artifacts(tx, run_id, {"package": candidate.package.digest, "model": candidate.package.models[0]})
    tracking.log_artifacts(tx, run_id, candidate.documents)
    tracking.finish(tx, run_id, status="finished", at=cause.at)
    return run_id


def _inputs(candidate: Candidate) -> list[Input]:
    versions = candidate.table_versions.items()
    return [Input(kind="table", name=table, version=str(version)) for table, version in versions]


def _metrics(candidate: Candidate) -> dict[str, float]:
    output, held_out = candidate.signature.output, candidate.held_out
    outputs, labels = output.shaped(from_column(held_out["candidate"])), held_out["label"].to_numpy()
    groups = held_out[GROUP].to_numpy() if GROUP in held_out.columns else None
    losses = {name: named(name, output).rows(outputs, labels, groups) for name in losses_of(output.kind)[:2]}
    return {
        "rows": float(candidate.trained_on.frame.height),
        "holdout_rows": float(len(labels)),
        **{f"holdout_{name}": float(np.nanmean(rows)) for name, rows in losses.items()},
        "parity_max_abs_difference": candidate.package.parity.max_abs_difference,
        **candidate.fitted.calibration.metrics(),
    }


def _lineage(lane: Lane, candidate: Candidate) -> dict[str, Any]:
    model = lane.operation.model
    pins = candidate.trained_on.pins
    return {
        "tables": candidate.table_versions,
        "as_of": pins["as_of"].isoformat(),
        "rows": candidate.trained_on.frame.height,
        "label": pins["label"],
        "views": [msgspec.to_builtins(view) for view in model.views],
        "views_digest": views_digest(model.views),
        "code": code_digest(model.fit),
        "params": candidate.tuned.params,
        **({"search": candidate.tuned.found_by} if candidate.tuned.found_by else {}),
        REBUILD: rebuilt_from(lane, candidate.trained_on, seed=candidate.seed),
        "calibration": msgspec.to_builtins(candidate.fitted.calibration),
        "seed": derive_seed(candidate.seed, "fit"),
        "decision": msgspec.to_builtins(candidate.decision),
        PROFILE: candidate.inputs_profile,
        **candidate.documents,
        **({"reviews": msgspec.to_builtins(pins["reviews"])} if "reviews" in pins else {}),
        **({PURPOSE: said} if (said := inspect.getdoc(model.fit)) else {}),
    }
