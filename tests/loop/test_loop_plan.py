from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import loopline as ll
from loopline.ledger import chain
from loopline.loop import store
from loopline.loop.code import code_digest
from loopline.loop.declare import Loop
from loopline.loop.describe import describe
from loopline.loop.plan import Change, Plan, apply, plan
from loopline.storage.database import Database
from loopline.values import canonical_json, digest

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def departures(window): ...


def arrivals(window): ...


def weather(window): ...


def late(train, params): ...


def other_fit(train, params):
    return None


other_fit.__name__ = "late"


def declared(
    *, tolerance=0.01, over="3h", by="carrier", every="1h", with_weather=True, threshold=15, fit=late, operated=True
) -> Loop:
    loop = Loop("flights")
    on = loop.source(key="flight", event_time="left", known_at="told")(departures)
    seen = loop.source(key="flight", event_time="seen", known_at="seen", every=every)(arrivals)
    if with_weather:
        loop.source(key="origin", event_time="seen", known_at="seen")(weather)
    views = [seen.features(by=by, delay=ll.mean("delay", over=over))]
    label = ll.label(seen, pl.col("delay") > threshold, matures="2d")
    model = loop.model(on=on, at="left", features=["distance", *views], label=label)(fit)
    if operated:
        loop.operate(model, decide=ll.costs(1, 4), promote=[ll.better()], watch=ll.Risk(tolerance=tolerance))
    return loop


def applied(database: Database, loop: Loop, days: int = 0) -> Plan:
    return apply(database, loop, actor="ann", at=T0 + days * DAY)


def changes(made: Plan) -> set[tuple[str, str]]:
    return {(change.kind, change.path) for change in made.changes}


def test_at_first_everything_is_added_thing_by_thing(database: Database):
    made = plan(database, declared())
    assert changes(made) == {
        ("add", "loop"),
        ("add", "turn"),
        ("add", "sources.departures"),
        ("add", "sources.arrivals"),
        ("add", "sources.weather"),
        ("add", "models.late"),
        ("add", "operations.late"),
    }
    assert made.touched == []
    assert not made.empty


def test_planning_changes_nothing(database: Database):
    assert plan(database, declared()) == plan(database, declared())
    with database.reading() as tx:
        assert store.latest_applied(tx, "flights") is None
        assert chain.entries(tx, "flights") == []


def test_applying_again_changes_nothing(database: Database):
    first = applied(database, declared())
    again = applied(database, declared(), days=1)
    assert (first.empty, again.empty, again.digest) == (False, True, first.digest)
    assert plan(database, declared()).empty
    with database.reading() as tx:
        [entry] = chain.entries(tx, "flights")
        found = store.latest_applied(tx, "flights")
    assert found is not None
    assert (found["sequence"], found["digest"], found["at"], found["actor"]) == (1, first.digest, T0, "ann")
    assert (entry.kind, entry.actor, entry.subject, entry.at) == ("loop.applied", "ann", "flights", T0)
    assert entry.body["digest"] == first.digest == digest(canonical_json(found["declaration"]))
    assert len(entry.body["changes"]) == 7


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"tolerance": 0.02}, Change("change", "operations.late.watch.tolerance", 0.01, 0.02)),
        ({"every": "2h"}, Change("change", "sources.arrivals.every", "1h", "2h")),
    ],
)
def test_a_change_is_named_with_before_and_after(database: Database, change, expected):
    applied(database, declared())
    assert plan(database, declared(**change)).changes == [expected]


def test_changes_inside_lists_are_told_by_their_place(database: Database):
    applied(database, declared())
    renamed = changes(plan(database, declared(over="7d")))
    assert renamed == {
        ("remove", "models.late.views[0].features.carrier_delay_3h"),
        ("add", "models.late.views[0].features.carrier_delay_7d"),
    }
    assert ("change", "models.late.views[0].by") in changes(plan(database, declared(by="origin")))


def test_what_is_taken_out_is_removed(database: Database):
    applied(database, declared())
    made = plan(database, declared(with_weather=False, operated=False))
    assert changes(made) == {("remove", "sources.weather"), ("remove", "operations.late")}
    assert all(change.after is None and change.before for change in made.changes)


def test_label_and_code_are_part_of_it(database: Database):
    applied(database, declared())
    assert changes(plan(database, declared(threshold=20))) == {("change", "models.late.label.expression")}
    assert changes(plan(database, declared(fit=other_fit))) == {("change", "models.late.code")}
    assert code_digest(late) != code_digest(other_fit)


def test_models_and_endpoints_that_read_a_changed_source_are_touched(database: Database):
    applied(database, declared())
    assert plan(database, declared(every="2h")).touched == [
        "model late reads flights.arrivals",
        "endpoint late serves model late",
    ]
    assert plan(database, declared(every="2h", operated=False)).touched == ["model late reads flights.arrivals"]
    assert plan(database, declared(tolerance=0.02)).touched == []
    assert plan(database, declared(with_weather=False)).touched == []


def test_each_application_has_its_number(database: Database):
    digests = [
        applied(database, declared(tolerance=tolerance), days=n).digest for n, tolerance in enumerate([0.1, 0.2, 0.1])
    ]
    assert digests[0] == digests[2] != digests[1]
    with database.reading() as tx:
        found = store.latest_applied(tx, "flights")
        entries = chain.entries(tx, "flights")
        assert store.applied_loops(tx) == ["flights"]
        chain.verify(tx, "flights")
    assert found is not None
    assert found["sequence"] == 3
    assert [entry.body["digest"] for entry in entries] == digests
    assert entries[1].body["changes"] == [
        {"kind": "change", "path": "operations.late.watch.tolerance", "before": 0.1, "after": 0.2}
    ]


def test_loops_are_planned_apart(database: Database):
    applied(database, declared())
    other = Loop("trains")
    other.source(key="train", event_time="left", known_at="left")(departures)
    assert ("add", "sources.departures") in changes(applied(database, other))
    assert plan(database, declared()).empty


def test_a_declaration_reads_back_as_it_was_written():
    described = describe(declared())
    assert canonical_json(described) == canonical_json(describe(declared()))
    assert described["models"]["late"]["label"]["matures"] == "2d"
    assert described["operations"]["late"]["compare"] == {}
