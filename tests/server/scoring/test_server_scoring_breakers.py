"""Breakers that outlive engines, and what is told of them."""

import numpy as np
import pytest

from loopline.models.breaker_terms import BreakerTerms
from loopline.models.signature import Signature
from loopline.server.scoring.breakers import Breakers
from loopline.server.scoring.metrics import Metrics

TERMS = BreakerTerms(failures=1)


class Broken:
    signature = Signature(fields=())

    def outputs(self, _matrix):
        raise RuntimeError


def opened(breakers, endpoint="late", package="p1"):
    guarded = breakers.guarded(endpoint, "champion", package, Broken(), TERMS)
    with pytest.raises(RuntimeError):
        guarded.outputs(np.zeros((1, 0), dtype=np.float32))
    return guarded.breaker


def samples(metrics):
    lines = metrics.exposition().splitlines()
    return [line for line in lines if line.startswith("loopline_scoring_breaker")]


def test_the_same_model_under_the_same_terms_keeps_its_breaker():
    breakers = Breakers(lambda *_: None)
    first = opened(breakers)
    assert breakers.guarded("late", "champion", "p1", Broken(), TERMS).breaker is first
    assert first.state == "open"
    for package, terms in (("p2", TERMS), ("p2", BreakerTerms(failures=2))):
        other = breakers.guarded("late", "champion", package, Broken(), terms).breaker
        assert (other.state, other is first) == ("closed", False)
    assert breakers.guarded("late", "champion", "p1", None, TERMS) is None


def test_metrics_tell_the_worst_state_of_the_workers_and_count_changes(tmp_path):
    workers = [Metrics(tmp_path, slot) for slot in range(2)]
    of_each = [Breakers(one.note_breaker, seed=slot) for slot, one in enumerate(workers)]
    for breakers in of_each:
        breakers.breaker("late", "champion", "p1", TERMS)
    opened(of_each[1])
    workers[1].keep()
    own = 'endpoint="late",breaker="champion"'
    assert samples(workers[0]) == [
        f"loopline_scoring_breaker_state{{{own}}} 2",
        f'loopline_scoring_breaker_transitions_total{{{own},to="open"}} 1',
    ]
    of_each[1].breaker("late", "champion", "p2", TERMS)
    workers[1].keep()
    assert samples(workers[0])[0].endswith(" 0")
