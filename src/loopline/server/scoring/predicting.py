"""Predictions for any protocol: the engine's path, the log, the counters. An answer is only given once its record is safe."""

from collections.abc import Awaitable, Mapping, Sequence
from time import perf_counter
from typing import Any

from loopline.scoring.asked import Asked, Caller, Shared
from loopline.scoring.block import Predictions
from loopline.scoring.columns import Columns
from loopline.scoring.engine import Engine
from loopline.scoring.ladder import Ahead, Scored
from loopline.server.scoring.batcher import Batchers, deadline_exceeded
from loopline.server.scoring.calls import awaited
from loopline.server.scoring.group_commit import GroupCommit
from loopline.server.scoring.metrics import Metrics
from loopline.server.scoring.recording import Recording
from loopline.server.scoring.shadows import Shadows
from loopline.server.scoring.unloaded import Unloaded

STAGES = ("check", "features", "score", "decide", "log")

Rows = Sequence[Mapping[str, Any]] | Columns


class Predicting:
    """Predicts for the tasks of one event loop."""

    def __init__(
        self,
        commit: GroupCommit,
        metrics: Metrics,
        batchers: Batchers,
        unloaded: Unloaded,
        shadows: Shadows | None = None,
    ) -> None:
        self._recording = Recording(commit, metrics)
        self._stages = {stage: metrics.stage(stage) for stage in STAGES}
        self._batchers = batchers
        self._unloaded = unloaded
        self._shadows = shadows or Shadows(commit, metrics)

    def predict(self, engine: Engine, rows: Rows, caller: Caller) -> Predictions | Awaitable[Predictions]:
        """Predictions for `rows` in their order, logged: at once, or to be waited for where the model is slow or the log is synced.

        Raises `Unavailable` "scoring.unloaded", and (then or while it is waited for) what `Engine.predict`, `Batcher.outputs` and `Spool.append` raise; nothing is
        answered then.
        """
        self._unloaded.refuse(engine.deployment.endpoint)
        began = perf_counter()
        asked = engine.ask(rows, caller)
        now = perf_counter()
        self._note("check", began, now - asked.looking_up, caller)
        self._note("features", now - asked.looking_up, now, caller)
        if caller.deadline is not None and now > caller.deadline:
            raise deadline_exceeded()
        batcher = self._batchers.of(engine)
        late = engine.late(asked, caller)
        matrix = engine.matrix(asked) if batcher is not None and asked.count and not late else None
        if batcher is not None and matrix is not None:
            return self._batched(engine, asked, caller, batcher.ahead(matrix, caller.deadline))
        scored = engine.score(asked, late=late)
        self._note("score", now, perf_counter(), caller)
        return self._recorded(engine, asked, scored, caller)

    async def _batched(self, engine: Engine, asked: Asked, caller: Caller, ahead: Awaitable[Ahead]) -> Predictions:
        began = perf_counter()
        found = await ahead
        self._note("score", began, perf_counter(), caller)
        return await awaited(self._recorded(engine, asked, engine.score(asked, found), caller))

    def batches(self, engine: Engine) -> bool:
        """Whether an engine's model is slow, so that its callers are scored in batches."""
        return self._batchers.of(engine) is not None

    def refuse_unloaded(self, engine: Engine) -> None:
        """Raises `Unavailable` "scoring.unloaded"."""
        self._unloaded.refuse(engine.deployment.endpoint)

    def together(
        self, engine: Engine, rows: Columns, callers: Sequence[tuple[int, Caller]]
    ) -> Predictions | Awaitable[Predictions]:
        """Predictions for rows of several callers, in their order, logged. Raises whatever is wrong for any of them, as
        `Engine.together`; nothing is answered then.
        """
        began = perf_counter()
        predictions = Predictions((engine.together(rows, callers),))
        now = perf_counter()
        kept = self._recording.keep(engine, predictions)
        traced = [caller for _, caller in callers if caller.stages is not None]
        if isinstance(kept, Predictions):
            self._note_all(traced, began, now)
            return kept
        return self._kept_all(kept, traced, began, now)

    async def _kept_all(
        self, waiting: Awaitable[Predictions], traced: Sequence[Caller], began: float, scored: float
    ) -> Predictions:
        kept = await waiting
        self._note_all(traced, began, scored)
        return kept

    def _note_all(self, traced: Sequence[Caller], began: float, scored: float) -> None:
        """Of what is answered together the scoring is one stage."""
        now = perf_counter()
        for stage, start, end in (("score", began, scored), ("log", scored, now)):
            self._stages[stage](end - start)
            for caller in traced:
                if caller.stages is not None:
                    caller.stages.append((stage, start, end))

    def _recorded(
        self, engine: Engine, asked: Asked, scored: Scored | Shared, caller: Caller
    ) -> Predictions | Awaitable[Predictions]:
        began = perf_counter()
        predictions = engine.answer(asked, scored, caller)
        now = perf_counter()
        self._note("decide", began, now, caller)
        if not predictions.blocks:
            return predictions
        kept = self._recording.keep(engine, predictions)
        if isinstance(kept, Predictions):
            return self._safe(engine, asked, kept, now, caller)
        return self._kept(kept, engine, asked, now, caller)

    def _note(self, stage: str, began: float, ended: float, caller: Caller) -> None:
        self._stages[stage](ended - began)
        if caller.stages is not None:
            caller.stages.append((stage, began, ended))

    async def _kept(
        self, waiting: Awaitable[Predictions], engine: Engine, asked: Asked, began: float, caller: Caller
    ) -> Predictions:
        return self._safe(engine, asked, await waiting, began, caller)

    def _safe(self, engine: Engine, asked: Asked, kept: Predictions, began: float, caller: Caller) -> Predictions:
        self._note("log", began, perf_counter(), caller)
        if engine.beside.shares.shadows:
            self._shadows.offer(engine, asked, kept, caller)
        return kept
