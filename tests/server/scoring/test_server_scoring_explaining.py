"""An explanation is made in what time is left, or left out, and that is said."""

import asyncio
import threading
from time import perf_counter

import pytest

from loopline.scoring.block import Predictions
from loopline.server.scoring.explaining import explain


class Explains:
    """An engine that explains once its gate is open."""

    def __init__(self):
        self.gate = threading.Event()
        self.asked = 0

    def explain(self, predictions):
        self.asked += 1
        self.gate.wait(20)
        return [f"why {number}" for number in range(len(predictions))]


class Two(Predictions):
    def __len__(self):
        return 2


@pytest.fixture
def engine():
    found = Explains()
    yield found
    found.gate.set()


def explained(engine, deadline):
    async def ask():
        found = await explain(engine, Two(()), deadline)
        engine.gate.set()  # the loop ends only with its threads
        return found

    return asyncio.run(ask())


def test_without_a_deadline_it_is_waited_for(engine):
    engine.gate.set()
    assert explained(engine, None) == (["why 0", "why 1"], {})
    assert explained(engine, perf_counter() + 60) == (["why 0", "why 1"], {})


def test_when_the_time_is_over_nothing_is_begun(engine):
    assert explained(engine, perf_counter() - 1) == ([None, None], {"explanation_left_out": "deadline"})
    assert engine.asked == 0


def test_what_takes_longer_than_there_is_time_is_left_out(engine):
    assert explained(engine, perf_counter() + 0.2) == ([None, None], {"explanation_left_out": "deadline"})
