"""Measures that a playbook takes against what is wrong: begun once, in force, and ended when their incidents are over."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

import loopline as ll
from loopline.app.work import actions_of, lane_works
from loopline.incidents import incident, outbox
from loopline.incidents.playbook import Response
from loopline.ledger import chain
from loopline.loop import store
from loopline.loop.deployment import deployment, terms_of
from loopline.loop.history import History
from loopline.loop.ingestion import ingest_each
from loopline.loop.status import status
from loopline.loop.trainings import Trainings
from loopline.loop.turn import LaneWork, TurnSummary, run_turn
from loopline.models import decision_versions
from loopline.scoring.record import prediction_table
from loopline.tables.ingest import WRITER
from loopline.values import Window

DAY = timedelta(days=1)
FAULT = {"column": "carrier_hours", "kind": "unit_change", "sentence": "carrier_hours is 60 times what it was."}
Work = Callable[..., LaneWork]


@pytest.fixture
def made(copied, small_loop) -> Work:
    """The lane of the home after its replay, in operation, with a playbook of these responses."""

    def make(*responses: Response, replayed: bool = False) -> LaneWork:
        [work] = lane_works(copied, small_loop, History(copied.tables), compare=False)
        lane = replace(work.lane, responses=responses, replayed=replayed)
        actions = actions_of(copied, lane, work.history, work.predictors, Trainings())
        return replace(work, lane=lane, actions=actions)

    return make


def turn(work: LaneWork) -> TurnSummary:
    """One more day without a prediction: nothing but the playbook has something to do."""
    with work.resources.database.reading() as tx:
        last = store.last_turn(tx, work.lane.project, work.lane.model)
    begin = work.resources.clock.now()
    work.resources.clock.turn_to(begin + DAY)
    return run_turn(work, number=last["number"] + 1, window=Window(begin, begin + DAY), due=None)


def open_incident(work: LaneWork, *diagnosis: dict[str, Any], kind: str = "data_fault", alarm: str = "alarm_1"):
    with work.resources.database.transaction() as tx:
        found, _ = incident.open_or_join(
            tx,
            project="parcels",
            model="late",
            kind=kind,
            alarm=alarm,
            at=work.resources.clock.now(),
            sentence="Something is broken.",
            diagnosis=diagnosis,
        )
    return found


def resolve(work: LaneWork, found: incident.Incident) -> None:
    with work.resources.database.transaction() as tx:
        incident.resolve(tx, found, at=work.resources.clock.now(), actor="ada", sentence="mended")


def serves(work: LaneWork) -> int:
    with work.resources.database.reading() as tx:
        return deployment(tx, "parcels", "late", terms_of(work.lane.operation)).version


def told(work: LaneWork, kind: str) -> list[dict[str, Any]]:
    with work.resources.database.reading() as tx:
        return [entry.body for entry in chain.entries(tx, "parcels", kind=kind)]


def band(work: LaneWork) -> float:
    with work.resources.database.reading() as tx:
        current = decision_versions.current_decision(tx, "parcels", "late")
    return current.evidence["terms"]["spec"]["abstain_at_most"]


def test_the_fallback_serves_until_the_fault_is_over(made):
    work = made(ll.on(ll.data_fault, ll.serve_fallback))
    before = serves(work)
    assert before > 0
    assert turn(work).action is None
    fault = open_incident(work, FAULT)
    first, second = turn(work), turn(work)
    assert (first.action, first.changed, serves(work)) == ("serve_fallback", True, 0)
    [shown] = next(one.models for one in status(work.resources) if one.project == "parcels")
    assert (shown.champion, shown.serves, shown.measures) == (before, 0, ["serve_fallback"])
    assert second.action is None, "it is in force already"
    resolve(work, fault)
    third = turn(work)
    assert (third.action, serves(work)) == ("end_fallback", before)
    assert turn(work).action is None
    assert [body["answers"] for body in told(work, "measure.begun")] == [[fault.id]]
    assert [body["sentence"] for body in told(work, "measure.ended")] == [f"Version {before} answers again."]
    with work.resources.database.reading() as tx:
        assert incident.get(tx, "parcels", fault.id).state == "resolved"


def test_a_measure_ends_no_incident_and_what_comes_below_it_is_still_asked(made):
    work = made(ll.on(ll.harm, ll.serve_fallback), ll.on(ll.harm, ll.notify(cooldown="30d")))
    harm = open_incident(work, kind="harm")
    assert [turn(work).action for _ in range(2)] == ["serve_fallback", "notify"]
    with work.resources.database.reading() as tx:
        assert incident.get(tx, "parcels", harm.id).state in incident.OPEN


def test_another_champion_ends_the_fallback(made):
    work = made(ll.on(ll.data_fault, ll.serve_fallback), ll.on(ll.data_fault, ll.roll_back))
    open_incident(work, FAULT)
    turn(work)
    assert serves(work) == 0
    rolled = turn(work)
    assert (rolled.action, rolled.changed) == ("roll_back", True)
    assert serves(work) > 0


def test_without_an_open_incident_nothing_is_begun(made):
    work = made(ll.every("1d", ll.serve_fallback))
    found = turn(work)
    assert (found.action, found.changed, serves(work) > 0) == ("serve_fallback", False, True)


def test_the_band_is_widened_and_narrowed_again(made):
    work = made(ll.on(ll.harm, ll.widen_band(to=0.3)))
    harm = open_incident(work, kind="harm")
    assert band(work) == 0.05
    assert turn(work).action == "widen_band"
    assert band(work) == 0.3
    assert turn(work).action is None
    resolve(work, harm)
    assert turn(work).action == "narrow_band"
    assert band(work) == 0.05
    [changed, back] = told(work, "decision.changed")[-2:]
    assert (changed["terms"]["spec"]["abstain_at_most"], back["terms"]["spec"]["abstain_at_most"]) == (0.3, 0.05)


def test_a_quarantined_source_is_asked_for_what_it_missed_when_it_is_released(made, small_loop):
    work = made(ll.on(ll.broken_data, ll.quarantine_source))
    feature = next(name for view in work.lane.operation.model.views for name in view.features)
    resources, begin = work.resources, work.resources.clock.now()
    fault = open_incident(work, FAULT | {"column": feature})
    assert turn(work).action == "quarantine_source"
    asked = ingest_each(resources, small_loop, resources.clock.now(), begin=begin).done
    assert set(asked) == {"parcels.sendings"}
    resolve(work, fault)
    assert turn(work).action == "release_source"
    asked = ingest_each(resources, small_loop, resources.clock.now(), begin=begin).done
    assert set(asked) == {"parcels.sendings", "parcels.deliveries"}
    table = resources.tables.open("parcels.deliveries")
    window = table.find(WRITER, table.sequence(WRITER)).provenance["window"]
    assert window == [begin.isoformat(), resources.clock.now().isoformat()]


def test_in_a_replay_a_quarantine_is_only_noted(made, small_loop):
    work = made(ll.on(ll.broken_data, ll.quarantine_source), replayed=True)
    feature = next(name for view in work.lane.operation.model.views for name in view.features)
    begin = work.resources.clock.now()
    open_incident(work, FAULT | {"column": feature})
    assert turn(work).action == "quarantine_source"
    asked = ingest_each(work.resources, small_loop, work.resources.clock.now(), begin=begin).done
    assert "parcels.deliveries" in asked
    assert told(work, "measure.begun")[0]["meant"] == ["parcels.deliveries"]


def test_labels_are_asked_for_by_chance_that_can_be_told_again(made):
    work = made(ll.on(ll.data_fault, ll.ask_for_labels(7)(cooldown="7d")))
    open_incident(work, FAULT)
    found = turn(work)
    assert (found.action, found.changed) == ("ask_for_labels", False)
    [entry] = told(work, "labels.asked")
    drawn = msgspec.json.decode(work.resources.artifacts.get(entry["artifact"]))["predictions"]
    with work.resources.database.reading() as tx:
        [note] = outbox.due(tx, "parcels", work.resources.clock.now())
    assert note.message["predictions"] == drawn
    rows = work.resources.tables.open(prediction_table("parcels", "late")).read()
    assert len(set(drawn)) == len(drawn) == min(7, entry["rows"])
    assert set(drawn) <= set(rows["prediction_id"])
    assert turn(work).action == "ask_for_labels"
    assert len(told(work, "labels.asked")) == 1, "it cools down"


def test_a_dry_run_tells_what_would_be_done_and_does_nothing(made):
    work = made(ll.on(ll.data_fault, ll.serve_fallback(dry_run=True, cooldown="2d")))
    open_incident(work, FAULT)
    before = serves(work)
    found = turn(work)
    assert (found.action, found.changed, serves(work)) == ("serve_fallback", False, before)
    assert found.outcome == "A dry run: now serve_fallback would have been carried out."
    [entry] = [body for body in told(work, "action") if body["action"] == "dry_run:serve_fallback"]
    assert entry["changed"] is False
    assert turn(work).outcome == "cooling down"


def test_a_retraining_waits_while_the_data_are_broken(made):
    work = made(ll.on(ll.harm, ll.retrain(unless=ll.broken_data)))
    open_incident(work, FAULT)
    open_incident(work, kind="harm", alarm="alarm_2")
    found = turn(work)
    assert (found.action, found.changed) == ("retrain", False)
    assert found.outcome == "the likely cause is unit_change: carrier_hours is 60 times what it was"
