"""The breaker against a model of it: a list of what happened, from which each answer is found anew."""

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from loopline.errors import InvalidInput
from loopline.models.breaker_terms import BreakerTerms, breaker
from loopline.scoring.breaker import Breaker


class Machine(RuleBasedStateMachine):
    """Calls that are made where they are allowed, and told of; what the breaker must do follows from the calls alone."""

    @initialize(
        failures=st.integers(1, 4),
        rate=st.sampled_from([0.3, 0.5, 1.0]),
        window=st.integers(1, 6),
        probes=st.integers(1, 3),
        seed=st.integers(0, 9),
    )
    def begin(self, failures, rate, window, probes, seed):
        self.terms = BreakerTerms(failures, rate, window, 100.0, 1.0, 6.0, probes)
        self.changes = []
        self.breaker = Breaker(self.terms, "store", seed=seed, changed=lambda name, to: self.changes.append((name, to)))
        self.now = 1000.0
        self.results = []  # of the calls since it last closed
        self.state, self.opened_at, self.openings, self.passed = "closed", None, 0, 0

    @rule(seconds=st.floats(0.0, 4.0))
    def wait(self, seconds):
        self.now += seconds

    @rule(outcome=st.sampled_from(["ok", "slow", "fails"]))
    def call(self, outcome):
        allowed = self.breaker.allows(self.now)
        if self.state == "open":
            waited = self.now - self.opened_at
            longest = min(6.0, 2.0 ** (self.openings - 1))
            if waited >= longest:
                assert allowed
            if waited < longest / 2:
                assert not allowed
            if allowed:
                self.state, self.passed = "half_open", 0
        else:
            assert allowed
        if not allowed:
            return
        if self.state == "half_open":
            assert not self.breaker.allows(self.now), "a second call went out while the first probed"
        if outcome == "fails":
            self.breaker.failed(self.now)
        else:
            self.breaker.succeeded(self.now, 0.2 if outcome == "slow" else 0.05)
        self.note(failed=outcome != "ok")

    def note(self, *, failed):
        if self.state == "half_open":
            self.passed += not failed
            if failed:
                self.open()
            elif self.passed == self.terms.probes:
                self.state, self.results, self.openings = "closed", [], 0
            return
        self.results.append(failed)
        last = self.results[-self.terms.window :]
        in_a_row = self.results[-self.terms.failures :]
        too_often = len(last) == self.terms.window and sum(last) / self.terms.window >= self.terms.rate
        if failed and ((len(in_a_row) == self.terms.failures and all(in_a_row)) or too_often):
            self.open()

    def open(self):
        self.state, self.opened_at, self.openings = "open", self.now, self.openings + 1

    @invariant()
    def it_is_where_the_model_is(self):
        assert self.breaker.state == self.state

    @invariant()
    def every_change_was_told_once(self):
        assert [name for name, _ in self.changes] == ["store"] * len(self.changes)
        states = ["closed", *(to for _, to in self.changes)]
        assert states[-1] == self.state
        allowed = {("closed", "open"), ("open", "half_open"), ("half_open", "open"), ("half_open", "closed")}
        assert set(pairwise(states)) <= allowed


def test_it_does_what_a_list_of_calls_says():
    run_state_machine_as_test(Machine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))


def opened(seed=0, **terms):
    found = Breaker(BreakerTerms(failures=1, **terms), "model", seed=seed)
    found.failed(0.0)
    return found


def first_allowed(found, until=100.0):
    return next(tick / 1000 for tick in range(int(until * 1000)) if found.allows(tick / 1000))


def test_waits_follow_from_the_seed_and_differ_between_seeds():
    waits = [first_allowed(opened(seed, wait_s=1.0)) for seed in range(20)]
    assert waits == [first_allowed(opened(seed, wait_s=1.0)) for seed in range(20)]
    assert len(set(waits)) > 15
    assert all(0.5 <= wait <= 1.001 for wait in waits)


def test_a_probe_that_is_never_told_of_does_not_stop_the_next_for_ever():
    found = opened(wait_s=1.0)
    at = first_allowed(found)
    assert not found.allows(at + 0.4)
    assert found.allows(at + 1.0)
    assert found.state == "half_open"


def test_calls_under_way_when_it_opened_change_nothing():
    found = opened(wait_s=1.0)
    found.succeeded(0.1, 0.01)
    found.failed(0.2)
    assert found.state == "open"
    assert found.allows(1.001)


@pytest.mark.parametrize(
    "wrong", [{"failures": 0}, {"rate": 0.0}, {"rate": 1.5}, {"wait": "0s"}, {"wait": "1h"}, {"slow_ms": 0.0}]
)
def test_terms_that_no_breaker_goes_by_are_refused(wrong):
    with pytest.raises(InvalidInput) as caught:
        breaker(**wrong)
    assert caught.value.code == "breaker.terms"
