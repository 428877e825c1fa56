"""The record of what is answered: safe before the answer, or, where an endpoint is to serve without, counted and marked as lost."""

from collections.abc import Awaitable

import structlog

from loopline.errors import Unavailable, told
from loopline.scoring.block import Predictions, encode
from loopline.scoring.engine import Engine
from loopline.server.scoring.group_commit import GroupCommit
from loopline.server.scoring.metrics import Metrics

NOT_LOGGED = "not_logged"

_log = structlog.get_logger(__name__)


class Recording:
    """Puts predictions in the log for the tasks of one event loop."""

    def __init__(self, commit: GroupCommit, metrics: Metrics) -> None:
        self._commit = commit
        self._metrics = metrics
        self._losing: set[str] = set()

    def keep(self, engine: Engine, predictions: Predictions) -> Predictions | Awaitable[Predictions]:
        """The predictions once they are in the log: at once, or to be waited for where the log is synced.

        Where the log cannot take them they come back marked `not_logged`, if the endpoint is to serve then; else raises `Unavailable`
        as `Spool.append`.
        """
        try:
            waiting = self._commit.append([encode(block) for block in predictions.blocks])
        except Unavailable as error:
            return self._lost(engine, predictions, error)
        return self._safe(engine, predictions) if waiting is None else self._waited(waiting, engine, predictions)

    async def _waited(self, waiting: Awaitable[None], engine: Engine, predictions: Predictions) -> Predictions:
        try:
            await waiting
        except Unavailable as error:
            return self._lost(engine, predictions, error)
        return self._safe(engine, predictions)

    def _safe(self, engine: Engine, predictions: Predictions) -> Predictions:
        self._losing.discard(engine.deployment.endpoint)
        self._metrics.count_predictions(predictions)
        return predictions

    def _lost(self, engine: Engine, predictions: Predictions, error: Unavailable) -> Predictions:
        endpoint = engine.deployment.endpoint
        if engine.deployment.ladder.on_log_failure == "refuse":
            raise error
        if endpoint not in self._losing:  # once, until the log takes them again: not a line a request
            self._losing.add(endpoint)
            _log.error("predictions are not logged", endpoint=endpoint, error=told(error))
        marked = predictions.marked(NOT_LOGGED)
        self._metrics.count_not_logged(endpoint, len(marked))
        self._metrics.count_predictions(marked)
        return marked
