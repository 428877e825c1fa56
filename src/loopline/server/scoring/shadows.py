"""Shadows score after the answer, in what time is left: never more than a fifth of it, and what is too much is dropped and counted."""

import asyncio
from collections import deque
from dataclasses import dataclass
from time import perf_counter

import structlog

from loopline.errors import trace
from loopline.scoring.asked import Asked, Caller
from loopline.scoring.block import Predictions, encode
from loopline.scoring.engine import Engine
from loopline.server.scoring.group_commit import GroupCommit
from loopline.server.scoring.metrics import Metrics

MOST_WAITING = 5000
"""Rows that wait at most; more are dropped."""

_AT_ONCE = 100
_SHARE = 0.2

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Answered:
    engine: Engine
    asked: Asked
    predictions: Predictions
    caller: Caller

    def shadowed(self) -> dict[str, list[int]]:
        """The places of the rows that each shadow is to score."""
        return self.engine.beside.shares.shadowed(self.asked.keys)


class Shadows:
    """Lets shadows score what was answered, for the tasks of one event loop.

    After each piece of work it rests for four times as long as that took, so that answers come first; a row waits for one piece at
    the most. What a shadow made is logged as its own; where it fails or is behind, that is counted and nothing else happens.
    """

    def __init__(self, commit: GroupCommit, metrics: Metrics, *, most_waiting: int = MOST_WAITING) -> None:
        self._commit = commit
        self._metrics = metrics
        self._most = most_waiting
        self._queue: deque[_Answered] = deque()
        self._rows = 0
        self._failing: set[tuple[str, str]] = set()
        self._drainer: asyncio.Task[None] | None = None

    async def finished(self) -> None:
        """Wait until nothing waits any more."""
        if self._drainer is not None:
            await self._drainer

    def offer(self, engine: Engine, asked: Asked, predictions: Predictions, caller: Caller) -> None:
        """Take the rows of an answer over, where there is room."""
        one = _Answered(engine, asked, predictions, caller)
        if self._rows + asked.count > self._most:
            for name, places in one.shadowed().items():
                self._count(engine, name, "dropped", len(places))
            return
        self._queue.append(one)
        self._rows += asked.count
        if self._drainer is None:
            self._drainer = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        while self._queue:
            one = self._queue.popleft()
            ids = one.predictions.column("prediction_id")
            for name, places in one.shadowed().items():
                for start in range(0, len(places), _AT_ONCE):
                    part = places[start : start + _AT_ONCE]
                    began = perf_counter()
                    await self._score(one, name, part, [ids[place] for place in part])
                    await asyncio.sleep((perf_counter() - began) * (1 / _SHARE - 1))
            self._rows -= one.asked.count
        self._drainer = None

    async def _score(self, one: _Answered, name: str, places: list[int], ids: list[str]) -> None:
        engine, known = one.engine, (one.engine.deployment.endpoint, name)
        try:
            block = engine.shadow(one.asked.taken(places), name, ids, one.caller)
            waiting = self._commit.append([encode(block)])
            if waiting is not None:
                await waiting
        except Exception as error:  # nobody waits for a shadow: whatever fails is told once, and counted
            if known not in self._failing:
                self._failing.add(known)
                _log.error("shadow fails", endpoint=known[0], variant=name, error=trace(error))
            self._count(engine, name, "failed", len(places))
            return
        self._failing.discard(known)
        self._count(engine, name, "scored", len(places))

    def _count(self, engine: Engine, name: str, became: str, rows: int) -> None:
        self._metrics.count_shadowed(engine.deployment.endpoint, name, became, rows)
