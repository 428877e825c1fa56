"""Requests that arrive in the same turn of the event loop are answered together, as one request of several callers.

Nobody waits for others: what had arrived when the loop came round is taken, so that under load each stage runs once for all of them.
Whatever is wrong with any row, or fails, has each asked alone again, so that it concerns its own caller only.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

from loopline.scoring.asked import Caller
from loopline.scoring.block import Predictions
from loopline.scoring.columns import Columns, joined
from loopline.scoring.engine import Engine
from loopline.server.scoring.later import Later
from loopline.server.scoring.made_once import MadeOnce
from loopline.server.scoring.predicting import Predicting

MOST_ROWS = 256
"""Rows that are answered together at most: nobody waits for more than these."""

LARGEST = 32
"""Rows of a request that is answered with others; a larger one gains nothing."""


Tell = Callable[[Predictions], Iterable[Any]]
"""Makes of predictions what each caller is given."""


class _Waiting(NamedTuple):
    rows: Columns
    caller: Caller
    later: Later


class Together:
    """Answers small requests for the tasks of one event loop."""

    def __init__(self, predicting: Predicting, tell: Tell) -> None:
        self._predicting = predicting
        self._tell = tell
        self._joins = MadeOnce[Engine, bool](lambda engine: engine.joins and not predicting.batches(engine))
        self._waiting: dict[tuple[Engine, bool, tuple[str, ...]], list[_Waiting]] = {}
        self._rows = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def takes(self, engine: Engine, rows: Columns, caller: Caller) -> bool:
        """Whether a request can be answered with others: a small one, without a deadline, and without ids of its own, where there may be
        others.
        """
        plain = not caller.alone and caller.deadline is None and caller.request_id is None
        fit = rows.typed or rows.matrix is not None
        return plain and fit and 0 < rows.count <= LARGEST and self._joins.of(engine)

    def predict(self, engine: Engine, rows: Columns, caller: Caller) -> Later:
        """What `tell` makes for the caller, or the exception there is instead. Raises `Unavailable` "scoring.unloaded"."""
        self._predicting.refuse_unloaded(engine)
        if self._rows + rows.count > MOST_ROWS:
            self._flush()
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        later = Later()
        alike = engine, rows.typed, tuple(rows)
        self._waiting.setdefault(alike, []).append(_Waiting(rows, caller, later))
        self._rows += rows.count
        return later

    def _flush(self) -> None:
        waiting, self._waiting, self._rows = self._waiting, {}, 0
        for (engine, *_), group in waiting.items():
            if len(group) == 1:
                self._alone(engine, group[0])
            else:
                self._all(engine, group)

    def _alone(self, engine: Engine, one: _Waiting) -> None:
        try:
            found = self._predicting.predict(engine, one.rows, one.caller)
        except Exception as error:
            one.later.give(error)
        else:
            self._answer(found, [one])

    def _all(self, engine: Engine, group: list[_Waiting]) -> None:
        callers = [(one.rows.count, one.caller) for one in group]
        try:
            found = self._predicting.together(engine, joined([one.rows for one in group]), callers)
        except Exception:
            for one in group:
                self._alone(engine, one)
        else:
            self._answer(found, group)

    def _answer(self, found: Predictions | Awaitable[Predictions], group: Sequence[_Waiting]) -> None:
        if isinstance(found, Predictions):
            self._give(found, group)
        else:
            self._wait(found, group)

    def _give(self, found: Predictions, group: Sequence[_Waiting]) -> None:
        try:
            told = list(self._tell(found))
        except Exception as error:  # nobody is left waiting
            told = [error] * len(group)
        for one, own in zip(group, told, strict=True):
            one.later.give(own)

    def _wait(self, found: Awaitable[Predictions], group: Sequence[_Waiting]) -> None:
        async def waited() -> None:
            try:
                predictions = await found
            except Exception as error:
                for one in group:
                    one.later.give(error)
                return
            self._give(predictions, group)

        task = asyncio.get_running_loop().create_task(waited())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
