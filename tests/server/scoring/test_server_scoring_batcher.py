"""Batches: every caller gets the outputs of its own rows, whoever else asked; and nobody waits for nothing."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.errors import Unavailable
from loopline.models.signature import Field, Signature
from loopline.scoring.pace import Pace
from loopline.server.scoring.batcher import Batcher


class Slow:
    """Scores by a sum; takes no negative numbers. Keeps the sizes of its calls, and waits while `gate` is closed."""

    signature = Signature(
        fields=(Field(name="a", kind="number", given=True), Field(name="b", kind="number", given=True))
    )

    def __init__(self):
        self.calls: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def outputs(self, matrix):
        self.gate.wait(20)
        self.calls.append(len(matrix))
        if (matrix < 0).any():
            raise ValueError("negative")
        return matrix.astype(np.float64) @ np.array([1.0, 1000.0])


def batcher_of(scorer, *, pace=None, target=0.05, patience=1.0):
    return Batcher(scorer, pace or Pace(0.001, 1e-5), ThreadPoolExecutor(1), target=target, patience=patience)


cells = st.integers(0, 200).map(float) | st.just(-1.0)
matrices = st.lists(st.lists(st.tuples(cells, cells), min_size=1, max_size=6), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(matrices, st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_batched_outputs_are_those_of_each_alone(callers, naps):
    scorer = Slow()

    async def ask(batcher, rows, nap):
        for _ in range(nap):
            await asyncio.sleep(0)
        return await batcher.ahead(np.array(rows, dtype=np.float32))

    async def together():
        batcher = batcher_of(scorer, pace=Pace(0.001, 0.01))  # a few rows a batch
        return await asyncio.gather(*(ask(batcher, rows, nap) for rows, nap in zip(callers, naps, strict=False)))

    for rows, ahead in zip(callers, asyncio.run(together()), strict=True):
        matrix = np.array(rows, dtype=np.float32)
        if (matrix < 0).any():
            assert ahead.outputs is None
            assert isinstance(ahead.error, ValueError)
        else:
            np.testing.assert_array_equal(ahead.outputs, scorer.outputs(matrix))


def test_what_waits_is_scored_together_and_a_batch_keeps_to_the_target():
    scorer = Slow()

    async def run():
        batcher = batcher_of(scorer, pace=Pace(0.0, 0.001), target=0.02)
        scorer.gate.clear()
        waiting = [asyncio.create_task(batcher.ahead(np.ones((3, 2), dtype=np.float32))) for _ in range(20)]
        await asyncio.sleep(0.05)
        scorer.gate.set()
        await asyncio.gather(*waiting)

    asyncio.run(run())
    assert sum(scorer.calls) == 60
    assert scorer.calls[0] == 18  # six callers of three rows come within 20 ms at 1 ms a row
    assert len(scorer.calls) < 20
    assert max(scorer.calls) > 3


def test_who_would_wait_too_long_is_told_so_at_once_with_when_to_come_again():
    scorer = Slow()

    async def run():
        batcher = batcher_of(scorer, pace=Pace(0.0, 0.5), target=0.05, patience=2.0)
        scorer.gate.clear()
        held = [asyncio.create_task(batcher.ahead(np.ones((1, 2), dtype=np.float32))) for _ in range(5)]
        await asyncio.sleep(0.05)
        with pytest.raises(Unavailable) as caught:
            await batcher.ahead(np.ones((1, 2), dtype=np.float32))
        with pytest.raises(Unavailable) as hurried:
            await batcher.ahead(np.ones((1, 2), dtype=np.float32), perf_counter() + 0.1)
        scorer.gate.set()
        await asyncio.gather(*held)
        return caught.value, hurried.value

    refused, hurried = asyncio.run(run())
    assert (refused.code, hurried.code) == ("scoring.overloaded", "scoring.overloaded")
    assert refused.context["retry_after"] >= 2
    assert sum(scorer.calls) == 5


def test_a_deadline_that_passes_while_waiting_is_told_and_its_rows_are_not_scored():
    scorer = Slow()

    async def run():
        batcher = batcher_of(scorer, pace=Pace(0.0, 1e-6), target=1e-9)
        scorer.gate.clear()
        first = asyncio.create_task(batcher.ahead(np.ones((1, 2), dtype=np.float32)))
        await asyncio.sleep(0.02)
        late = asyncio.create_task(batcher.ahead(np.ones((2, 2), dtype=np.float32), perf_counter() + 0.05))
        await asyncio.sleep(0.2)
        scorer.gate.set()
        await first
        with pytest.raises(Unavailable) as caught:
            await late
        return caught.value.code

    assert asyncio.run(run()) == "scoring.deadline_exceeded"
    assert scorer.calls == [1]


def test_a_caller_that_is_gone_leaves_the_others_theirs():
    scorer = Slow()

    async def run():
        batcher = batcher_of(scorer)
        scorer.gate.clear()
        first = asyncio.create_task(batcher.ahead(np.ones((1, 2), dtype=np.float32)))
        gone = asyncio.create_task(batcher.ahead(np.full((1, 2), 2, dtype=np.float32)))
        stays = asyncio.create_task(batcher.ahead(np.full((1, 2), 3, dtype=np.float32)))
        await asyncio.sleep(0.05)
        gone.cancel()
        scorer.gate.set()
        return (await first).outputs, (await stays).outputs

    first, stays = asyncio.run(run())
    assert (first.tolist(), stays.tolist()) == ([1001.0], [3003.0])
