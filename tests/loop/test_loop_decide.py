"""Decisions changed by people, by the declaration and by rollbacks, on a copy of the replayed home; the model stays."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import polars as pl
import pytest

from loopline.decisions.policy import Decision, costs
from loopline.errors import Conflict, InvalidInput, NotFound
from loopline.gates.promotion import CHAMPION
from loopline.incidents import freeze as freezes
from loopline.incidents.actions import Cause
from loopline.ledger import chain
from loopline.loop import changes, store
from loopline.loop.decide import Asked, decide, follow_declaration, propose
from loopline.loop.decision_history import decision_summaries
from loopline.loop.decision_reference import of_champion
from loopline.loop.decision_rollback import decision_with, roll_back_decision
from loopline.loop.decision_terms import terms_in_force
from loopline.loop.deployment import Predictors, manifest_path
from loopline.loop.plan import apply, plan
from loopline.loop.retrain import prepare_retrain
from loopline.models import decision_versions, registry
from loopline.models.manifest import read_manifest
from loopline.monitoring.performance import read_performance

LATE = {"project": "parcels", "model": "late"}
ANN = {"actor": "ann", "reason": "false alarms cost more now"}


def current(resources) -> decision_versions.DecisionVersion:
    with resources.database.reading() as tx:
        found = decision_versions.current_decision(tx, "parcels", "late")
    assert found is not None
    return found


def newest(resources) -> int:
    """The newest decision's number; the one in force is an older one, which came back with its model."""
    with resources.database.reading() as tx:
        return decision_versions.decisions(tx, "parcels", "late")[-1].version


def later(resources) -> None:
    resources.clock.turn_to(resources.clock.now() + timedelta(hours=1))


def champion(resources) -> int | None:
    with resources.database.reading() as tx:
        return registry.alias(tx, "parcels", "late", CHAMPION)


def published(resources):
    (serving,) = read_manifest(manifest_path(resources, "parcels"), resources.key.public).deployments
    return serving


def last_entry(resources) -> chain.Entry:
    with resources.database.reading() as tx:
        chain.verify(tx, "parcels")
        return chain.entries(tx, "parcels", newest_first=True)[0]


def logged(resources) -> pl.DataFrame:
    since = resources.clock.now() - timedelta(days=28)
    rows = resources.tables.open("predictions.parcels.late").read(event_after=since)
    return rows.filter(pl.col("model_version") > 0)


def test_what_would_change_is_told_and_nothing_does(copied):
    before = (current(copied).version, champion(copied), last_entry(copied).seq)
    made = propose(copied, **LATE, asked=Asked(false_positive=1, false_negative=6, abstain_at_most=0.0))
    assert made.decision.threshold == pytest.approx(1 / 7)
    was = msgspec.convert(current(copied).body, Decision)
    scores = logged(copied)["score"].to_numpy()
    assert made.changed == pytest.approx(np.mean(was.decide(scores) != made.decision.decide(scores)))
    assert made.changed > 0
    expected = [1 - p if p >= 1 / 7 else 6 * p for p in scores.tolist()]
    assert made.recent.after.mean == pytest.approx(np.mean(expected))
    assert made.recent.rows == len(scores)
    with copied.database.reading() as tx:
        _, reference = of_champion(copied, tx, "parcels", "late")
    paid = [
        (6.0 if label else 0.0) if p < 1 / 7 else (0.0 if label else 1.0)
        for p, label in zip(reference.held_out, reference.labels, strict=True)
    ]
    assert made.measured.after.mean == pytest.approx(np.mean(paid))
    assert made.measured.after.blocks == len(set(reference.blocks))
    assert made.measured.difference.mean == pytest.approx(made.measured.after.mean - made.measured.before.mean)
    assert (current(copied).version, champion(copied), last_entry(copied).seq) == before


def test_a_person_decides_and_only_the_decision_changes(copied):
    before, model, last = current(copied).version, champion(copied), newest(copied)
    made = decide(copied, **LATE, asked=Asked(false_negative=6), **ANN)
    assert made.version == last + 1 == current(copied).version
    assert champion(copied) == model
    serving = published(copied)
    assert (serving.version, serving.decision_version) == (model, made.version)
    assert serving.decision["false_negative"] == 6
    entry = last_entry(copied)
    assert (entry.kind, entry.actor, entry.body["replaces"]) == ("decision.changed", "ann", before)
    assert entry.body["evidence"]["cause"] == ANN["reason"]
    evidence = current(copied).evidence
    assert evidence["terms"]["spec"] == msgspec.to_builtins(costs(1, 6, abstain_at_most=0.05))
    assert evidence["expected"]["mean"] == pytest.approx(made.measured.after.mean)


def test_a_rollback_of_the_decision_leaves_the_model(copied):
    before, model, number = current(copied), champion(copied), newest(copied) + 1
    decide(copied, **LATE, asked=Asked(threshold=0.9, abstain_at_most=0.0), **ANN)
    done = roll_back_decision(copied, **LATE, **ANN)
    assert done.sentence == f"Decision {before.version} decides again in place of {number}; the model is the same."
    assert current(copied).version == before.version
    assert champion(copied) == model
    assert published(copied).decision == before.body
    assert last_entry(copied).kind == "decision.rolled_back"
    later(copied)
    roll_back_decision(copied, **LATE, **ANN, to=number)
    assert current(copied).body["threshold"] == 0.9


def test_a_rollback_of_the_model_brings_back_the_decision_that_was_in_force_with_it(copied):
    served = champion(copied)
    mine = decide(copied, **LATE, asked=Asked(false_negative=9), **ANN).version
    later(copied)
    changes.promote(copied, **LATE, version=2, **ANN)
    assert current(copied).version not in {mine, None}
    with copied.database.reading() as tx:
        assert decision_with(tx, "parcels", "late", served) == mine
    changes.roll_back(copied, **LATE, **ANN)
    assert champion(copied) == served
    assert current(copied).version == mine


def test_rollbacks_that_lead_nowhere_are_refused(copied):
    now = current(copied).version
    with pytest.raises(Conflict):
        roll_back_decision(copied, **LATE, **ANN, to=now)
    with pytest.raises(NotFound):
        roll_back_decision(copied, **LATE, **ANN, to=99)
    assert current(copied).version == now


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (Asked(), "decision.nothing_asked"),
        (Asked(false_negative=-1), "decision.costs"),
        (Asked(abstain_at_most=1.5), "decision.costs"),
        (Asked(threshold=2, abstain_at_most=0), "decision.threshold"),
        (Asked(threshold=0.3, abstain_at_most=0.1), "decision.threshold_and_band"),
        (Asked(threshold=float("nan"), abstain_at_most=0), "decision.threshold"),
    ],
)
def test_what_is_no_decision_is_refused_and_changes_nothing(copied, asked, code):
    before = last_entry(copied).seq
    with pytest.raises(InvalidInput) as caught:
        decide(copied, **LATE, asked=asked, **ANN)
    assert caught.value.code == code
    assert last_entry(copied).seq == before


def test_a_persons_terms_outlive_a_retrain_and_a_changed_declaration_ends_them(copied, replayed):
    decide(copied, **LATE, asked=Asked(false_negative=8), **ANN)
    lane = replayed.works[0].lane
    with copied.database.reading() as tx:
        assert terms_in_force(tx, "parcels", "late", lane.operation.decide).spec.false_negative == 8
    cause = Cause(key="again", sentence="asked", actor="ann", at=copied.clock.now())
    prepared = prepare_retrain(copied, lane, replayed.works[0].history, Predictors(copied), cause)
    with copied.database.transaction() as tx:
        outcome = prepared.commit(tx)
    assert outcome.changed
    assert outcome.evidence["expected_cost"]["rows"] > 0
    assert current(copied).body["false_negative"] == 8
    with copied.database.reading() as tx:
        other = costs(2, 3, abstain_at_most=0.05)
        assert terms_in_force(tx, "parcels", "late", other).spec == other


def test_a_changed_declaration_is_followed_at_once_and_once(copied, small_loop):
    operation = small_loop.operations["late"]
    changed = replace(small_loop, operations={"late": replace(operation, decide=costs(1, 5, abstain_at_most=0.05))})
    assert "decision of model late is fitted anew for its champion" in plan(copied.database, changed).touched
    at = copied.clock.now()
    follow = {**LATE, "actor": "loop", "at": at}
    assert follow_declaration(copied, **follow) is None
    apply(copied.database, changed, actor="ann", at=at)
    before, model = newest(copied), champion(copied)
    number = follow_declaration(copied, **follow)
    assert number == before + 1
    assert (current(copied).body["false_negative"], champion(copied)) == (5, model)
    assert current(copied).evidence["origin"] == "declaration"
    assert follow_declaration(copied, **follow | {"at": at + timedelta(days=1)}) is None


def test_a_freeze_holds_the_declaration_back_but_not_a_person(copied, small_loop):
    operation = small_loop.operations["late"]
    changed = replace(small_loop, operations={"late": replace(operation, decide=costs(1, 5))})
    apply(copied.database, changed, actor="ann", at=copied.clock.now())
    with copied.database.transaction() as tx:
        freezes.freeze(tx, project="parcels", by="ann", reason="looking", at=copied.clock.now())
    assert follow_declaration(copied, **LATE, actor="loop", at=copied.clock.now()) is None
    assert decide(copied, **LATE, asked=Asked(false_negative=7), **ANN).version == current(copied).version


def test_the_history_tells_what_each_was_expected_to_cost_and_did(copied):
    made = decide(copied, **LATE, asked=Asked(false_negative=6), **ANN)
    with copied.database.reading() as tx:
        found = decision_summaries(tx, "parcels", "late")
    assert [one.version for one in found] == list(range(1, made.version + 1))
    assert [one.version for one in found if one.in_force] == [made.version]
    first = found[0]
    assert (first.origin, first.by, first.champion) == ("promotion", "loop", 1)
    assert first.expected["blocks"] >= 5
    with copied.database.reading() as tx:
        reigns = decision_versions.decision_history(tx, "parcels", "late")
        blocks = store_blocks(tx)
    ends = [*(change.from_at for change in reigns[1:]), None]
    spans = [(one.from_at, end) for one, end in zip(reigns, ends, strict=True) if one.version == 1]
    inside = [
        one
        for one in blocks
        if any(since <= one.block_start and one.block_end <= until for since, until in spans) and one.labelled
    ]
    assert len(spans) == 2
    rows = sum(one.labelled for one in inside)
    assert first.measured.rows == rows
    assert first.measured.mean == pytest.approx(sum(one.cost * one.labelled for one in inside) / rows)
    assert found[-1].measured is None
    assert found[-1].reason == ANN["reason"]


def store_blocks(tx):
    return read_performance(tx, "parcels", "late", "harm")


def test_without_a_champion_there_is_nothing_to_decide_for(copied):
    with copied.database.reading() as tx:
        declaration = store.latest_applied(tx, "parcels")
    assert declaration is not None
    with pytest.raises(NotFound, match="no applied loop"):
        propose(copied, project="parcels", model="nothing", asked=Asked(false_negative=2))
