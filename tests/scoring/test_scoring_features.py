"""The feature store taken away, slow, and back: what was last known, for how long, and what is said of it."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from loopline.errors import InvalidInput
from loopline.features.definitions import Aggregate, LatestView, WindowView
from loopline.models.breaker_terms import BreakerTerms
from loopline.models.contract_terms import ContractTerms
from loopline.models.ladder_terms import LadderTerms
from loopline.scoring.columns import Columns
from loopline.scoring.features import OnlineReader
from loopline.scoring.last_known import LastKnown

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
DELAYS = WindowView(table="arrivals", by="carrier", features={"delay": Aggregate(op="mean", column="d", over="3h")})
SKY = LatestView(table="weather", by="origin", features={"visib": "visib", "wind": "wind"})


class Store:
    """Counts its reads, and answers with the number of the read; fails, dawdles or refuses when told to."""

    def __init__(self, clock):
        self.clock = clock
        self.reads = 0
        self.error = None
        self.takes = 0.0
        self.gate = threading.Event()
        self.gate.set()
        self.known = {"arrivals": AT, "weather": AT}

    def read(self, views, rows, _at):
        self.reads += 1
        self.gate.wait(20)
        self.clock.now += self.takes
        if self.error is not None:
            raise self.error
        return {name: [float(self.reads)] * len(rows) for view in views for name in view.features}

    def freshness(self, view):
        return self.known[view.table]


class Monotonic:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Monotonic()


@pytest.fixture
def store(clock):
    return Store(clock)


def reader(store, views=(DELAYS, SKY), contract=None, **ladder):
    terms = LadderTerms(**{"stale_s": 600.0, **ladder})
    return OnlineReader(lambda: store, views, contract=contract or ContractTerms(), ladder=terms, now=store.clock)


def ask(found, *rows, at=AT, until=None):
    columns = Columns({"carrier": [row[0] for row in rows], "origin": [row[1] for row in rows]}, len(rows))
    return found.read(columns, [at] * len(rows), until)


def test_a_store_that_fails_is_answered_for_by_what_was_last_known_of_each_entity(store):
    found = reader(store)
    ask(found, ("UA", "JFK"))
    ask(found, ("AA", "JFK"))
    store.error = OSError("gone")
    answer = ask(found, ("UA", "JFK"), ("ZZ", "JFK"), ("ZZ", "LGA"), at=AT + timedelta(seconds=90))
    assert answer.values == {"delay": [1.0, None, None], "visib": [2.0, 2.0, None], "wind": [2.0, 2.0, None]}
    assert answer.rows == [
        ("feature_stale:delay:90s", "feature_stale:visib:90s", "feature_stale:wind:90s"),
        ("feature_stale:visib:90s", "feature_stale:wind:90s"),
        (),
    ]
    gaps = {"delay": {1: "feature_missing", 2: "feature_missing"}}
    assert answer.gaps == {**gaps, "visib": {2: "feature_missing"}, "wind": {2: "feature_missing"}}
    assert answer.codes == ()
    store.error = None
    assert ask(found, ("UA", "JFK")).values["delay"] == [4.0]


def test_what_is_too_old_is_missing(store):
    found = reader(store)
    ask(found, ("UA", "JFK"))
    store.error = OSError("gone")
    assert ask(found, ("UA", "JFK"), at=AT + timedelta(seconds=600)).values["delay"] == [1.0]
    late = ask(found, ("UA", "JFK"), at=AT + timedelta(seconds=601))
    assert late.codes == ("feature_missing:delay", "feature_missing:visib", "feature_missing:wind")
    store.clock.now += 601
    assert ask(found, ("UA", "JFK")).values["delay"] == [None]


def test_a_contract_that_does_not_take_stale_values_leaves_a_gap(store):
    found = reader(store, contract=ContractTerms(feature_stale="impute"))
    ask(found, ("UA", "JFK"))
    store.error = OSError("gone")
    answer = ask(found, ("UA", "JFK"))
    assert answer.values == {"delay": [None], "visib": [None], "wind": [None]}
    assert answer.gaps == {name: {0: "feature_stale"} for name in ("delay", "visib", "wind")}


def test_where_nothing_fresh_is_known_the_last_fresh_values_count(store):
    found = reader(store)
    ask(found, ("UA", "JFK"))
    store.known["arrivals"] = AT - timedelta(hours=9)
    later = AT + timedelta(hours=3, minutes=1)
    found = reader(store, stale_s=4 * 3600.0)
    store.known["arrivals"] = AT
    ask(found, ("UA", "JFK"))
    answer = ask(found, ("UA", "JFK"), ("ZZ", "JFK"), at=later)
    assert answer.values == {"delay": [2.0, 3.0], "visib": [3.0, 3.0], "wind": [3.0, 3.0]}
    assert (answer.codes, answer.rows) == (("feature_stale:arrivals",), [("feature_stale:delay:10860s",), ()])


def test_a_breaker_leaves_a_failing_store_alone_and_tries_it_again(store):
    found = reader(store, store_breaker=BreakerTerms(failures=3, wait_s=1.0, probes=1))
    ask(found, ("UA", "JFK"))
    store.error = OSError("gone")
    answers = [ask(found, ("UA", "JFK")) for _ in range(6)]
    assert store.reads == 4
    assert [answer.codes for answer in answers] == [()] * 3 + [("breaker_open:features",)] * 3
    assert {answer.values["delay"][0] for answer in answers} == {1.0}
    store.clock.now += 1.0
    store.error = None
    assert ask(found, ("UA", "JFK")).codes == ()
    assert found.breaker.state == "closed"


def test_rows_that_the_store_refuses_are_no_failure_of_it(store):
    found = reader(store, store_breaker=BreakerTerms(failures=1))
    store.error = InvalidInput("features.before_horizon", "too early")
    assert ask(found, ("UA", "JFK")).codes[0] == "feature_missing:delay"
    assert found.breaker.state == "closed"


def test_a_store_that_hangs_is_not_waited_for_beyond_its_share(store):
    found = reader(store, store_breaker=BreakerTerms(failures=2, wait_s=1.0))
    store.takes = 1.0
    ask(found, ("UA", "JFK"))  # it took long: from now on it is read in a thread
    store.gate.clear()
    try:
        answers = [ask(found, ("UA", "JFK"), until=store.clock.now + 0.01) for _ in range(3)]
    finally:
        store.gate.set()
    assert [answer.codes for answer in answers] == [("deadline:features",)] * 2 + [("breaker_open:features",)]
    assert answers[0].values["delay"] == [1.0]


def test_a_part_of_a_look_up_is_that_of_its_rows(store):
    found = reader(store)
    ask(found, ("UA", "JFK"))
    store.error = OSError("gone")
    part = ask(found, ("ZZ", "LGA"), ("UA", "JFK"), ("ZZ", "JFK")).taken([2, 1])
    assert part.gaps == {"delay": {0: "feature_missing"}, "visib": {}, "wind": {}}
    assert [len(codes) for codes in part.rows] == [2, 3]


def test_the_entities_that_were_asked_for_longest_ago_are_forgotten_first():
    known = LastKnown(100.0, most=3)
    for number, name in enumerate("abcadbe"):
        known.note(name, AT, (number,), float(number))
    assert len(known) == 3
    assert [known.find(name, AT, 7.0) for name in "abcde"] == [None, ((5,), 0), None, ((4,), 0), ((6,), 0)]
    known.note("f", AT, (7,), 105.5)
    assert len(known) == 2


def test_values_of_a_later_time_are_not_replaced_by_earlier_ones():
    known = LastKnown(100.0)
    known.note("a", AT, (2,), 1.0)
    known.note("a", AT - timedelta(seconds=30), (1,), 2.0)
    assert known.find("a", AT + timedelta(seconds=5), 3.0) == ((2,), 5)
    known.note("a", AT - timedelta(seconds=30), (1,), 200.0)
    assert known.find("a", AT, 200.0) == ((1,), 30)
