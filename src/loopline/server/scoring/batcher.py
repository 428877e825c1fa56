"""Batches: rows of callers who wait at the same time are scored together where a model is slow to call.

While one batch is scored in a thread, what arrives waits for the next; so a batch is as large as the load is high, and nobody waits
for others to come. A batch ends within the latency that is aimed at, as far as the model's pace tells, and who would wait
too long is told so at once. Each caller gets the outputs of the very rows it sent; a row that a model cannot score fails its own
caller alone.
"""

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from time import perf_counter

import numpy as np

from loopline.errors import Unavailable
from loopline.scoring.engine import Engine
from loopline.scoring.guarded import Scorer
from loopline.scoring.ladder import Ahead, Outputs
from loopline.scoring.pace import Pace
from loopline.scoring.treatment import Matrix
from loopline.server.scoring.made_once import MadeOnce

AT_ONCE_SECONDS = 0.0005
TARGET_SECONDS = 0.05
PATIENCE_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class _Waiting:
    matrix: Matrix
    deadline: float | None
    done: "asyncio.Future[Ahead]"


class Batcher:
    """Scores for the tasks of one event loop, one batch at a time."""

    def __init__(
        self, scorer: Scorer, pace: Pace, executor: ThreadPoolExecutor, *, target: float, patience: float
    ) -> None:
        self._scorer = scorer
        self._pace = pace
        self._executor = executor
        self._target = target
        self._patience = patience
        self._queue: deque[_Waiting] = deque()
        self._rows = 0  # that wait or are being scored
        self._drainer: asyncio.Task[None] | None = None

    async def ahead(self, matrix: Matrix, deadline: float | None = None) -> Ahead:
        """What the model gives for the rows of `matrix`, or why it fails. `deadline` is by `time.perf_counter`.

        Raises `Unavailable`: "scoring.overloaded" where they would wait longer than callers are to, and
        "scoring.deadline_exceeded" where the deadline passed before their turn.
        """
        self._refuse_late(len(matrix), deadline)
        waiting = _Waiting(matrix, deadline, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._rows += len(matrix)
        if self._drainer is None:
            self._drainer = asyncio.create_task(self._drain())
        return await waiting.done

    def _refuse_late(self, rows: int, deadline: float | None) -> None:
        wait = self._pace.seconds(self._rows) if self._rows else 0.0
        left = self._patience if deadline is None else min(self._patience, deadline - perf_counter())
        if wait > left:
            raise Unavailable(
                "scoring.overloaded",
                f"{self._rows} rows wait already; these {rows} would have to for {wait:.2f} s",
                remedy="Send again later, as Retry-After says; or serve with more workers.",
                retry_after=ceil(wait),
            )

    async def _drain(self) -> None:
        while self._queue:
            batch = self._next()
            if batch:
                await self._score(batch)
        self._drainer = None

    def _next(self) -> list[_Waiting]:
        """As many of those who wait longest as the target allows, one at least; who waited too long is told so."""
        room, batch, now = self._pace.rows_within(self._target), list[_Waiting](), perf_counter()
        while self._queue and (not batch or room >= len(self._queue[0].matrix)):
            waiting = self._queue.popleft()
            late = waiting.deadline is not None and now > waiting.deadline
            if waiting.done.cancelled() or late:
                self._rows -= len(waiting.matrix)
                if not waiting.done.cancelled():
                    waiting.done.set_exception(deadline_exceeded())
                continue
            room -= len(waiting.matrix)
            batch.append(waiting)
        return batch

    async def _score(self, batch: list[_Waiting]) -> None:
        matrices = [waiting.matrix for waiting in batch]
        loop = asyncio.get_running_loop()
        answers = await loop.run_in_executor(self._executor, _together, self._scorer, self._pace, matrices)
        self._rows -= sum(map(len, matrices))
        for waiting, ahead in zip(batch, answers, strict=True):
            if not waiting.done.cancelled():
                waiting.done.set_result(ahead)


def _together(scorer: Scorer, pace: Pace, matrices: list[Matrix]) -> list[Ahead]:
    began = perf_counter()
    try:
        outputs = scorer.outputs(np.concatenate(matrices) if len(matrices) > 1 else matrices[0])
    except Exception as error:
        if len(matrices) == 1:
            return [Ahead(None, error)]
        return [found for matrix in matrices for found in _together(scorer, pace, [matrix])]
    pace.note(len(outputs), perf_counter() - began)
    return [Ahead(part) for part in _parted(outputs, matrices)]


def _parted(outputs: Outputs, matrices: list[Matrix]) -> list[Outputs]:
    ends = np.cumsum([len(matrix) for matrix in matrices])
    return np.split(outputs, ends[:-1])


class Batchers:
    """The batcher of each engine whose model is slow to call; they share one thread, as models are given one core."""

    def __init__(self, *, target: float = TARGET_SECONDS, patience: float = PATIENCE_SECONDS) -> None:
        self._target = target
        self._patience = patience
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._batchers: MadeOnce[Engine, Batcher | None] = MadeOnce(self._made)

    def of(self, engine: Engine) -> Batcher | None:
        """None for an engine whose model answers faster than a batch could be made."""
        return self._batchers.of(engine)

    def _made(self, engine: Engine) -> Batcher | None:
        rungs = engine.ladder.rungs
        if not rungs or engine.pace is None or engine.pace.seconds(1) < AT_ONCE_SECONDS:
            return None
        return Batcher(rungs[0].scorer, engine.pace, self._executor, target=self._target, patience=self._patience)


def deadline_exceeded() -> Unavailable:
    """The error for a caller that does not wait any more."""
    return Unavailable(
        "scoring.deadline_exceeded",
        "the deadline passed before the rows were scored",
        remedy="Allow more time, send fewer rows, or serve with more workers.",
    )
