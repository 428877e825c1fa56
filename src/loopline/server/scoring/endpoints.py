"""The plain routes: predictions for rows that are objects, metrics, and the description of all routes."""

from collections.abc import Awaitable

import msgspec

from loopline.access.permissions import Permission
from loopline.scoring.asked import Caller
from loopline.scoring.block import Predictions
from loopline.scoring.columns import Columns
from loopline.scoring.engine import Engine
from loopline.server.scoring.answers import Answers, answers, answers_each
from loopline.server.scoring.calls import awaited, caller, engine_of, require_explainable
from loopline.server.scoring.explaining import explain
from loopline.server.scoring.http import Response
from loopline.server.scoring.later import Later
from loopline.server.scoring.made_once import MadeOnce
from loopline.server.scoring.metrics import CONTENT_TYPE, Metrics
from loopline.server.scoring.predicting import Predicting
from loopline.server.scoring.reading import Reader
from loopline.server.scoring.routes import Call, Route
from loopline.server.scoring.together import Together


class Endpoints:
    """The handlers, and the routes that lead to them."""

    def __init__(self, predicting: Predicting, metrics: Metrics) -> None:
        self._predicting = predicting
        self._together = Together(predicting, answers_each)
        self._readers = MadeOnce(Reader)
        self._metrics = metrics

    def routes(self) -> list[Route]:
        """The plain routes."""
        return [
            Route("POST", "/predict/{endpoint}", Permission.PREDICTIONS_CREATE, self.predict),
            Route("GET", "/metrics", Permission.STATUS_READ, self.metrics),
        ]

    def predict(self, call: Call) -> Response | Later | Awaitable[Response]:
        engine = engine_of(call)
        rows, request = self._readers.of(engine.contract).read(call.body)
        if request.explain:
            require_explainable(engine, rows.count if isinstance(rows, Columns) else len(rows))
        who = caller(call, request.request_id)
        if not request.explain and isinstance(rows, Columns) and self._together.takes(engine, rows, who):
            return self._together.predict(engine, rows, who).then(_told)
        found = self._predicting.predict(engine, rows, who)
        if isinstance(found, Predictions) and not request.explain:
            return Response.json(Answers(answers(found)))
        return self._answered(engine, found, who, explained=request.explain)

    async def _answered(
        self, engine: Engine, found: Predictions | Awaitable[Predictions], who: Caller, *, explained: bool
    ) -> Response:
        predictions = await awaited(found)
        told = answers(predictions)
        if not explained:
            return Response.json(Answers(told))
        explanations, left_out = await explain(engine, predictions, who.deadline)
        both = zip(told, explanations, strict=True)
        return Response.json(
            {"predictions": [{**msgspec.structs.asdict(one), "explanation": why, **left_out} for one, why in both]}
        )

    def metrics(self, call: Call) -> Response:  # noqa: ARG002 - the same for every caller
        return Response.text(self._metrics.exposition(), CONTENT_TYPE)


def _told(found: Answers | Exception) -> Response | Exception:
    return found if isinstance(found, Exception) else Response.json(found)
