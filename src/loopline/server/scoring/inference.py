"""Inference by the Open Inference Protocol, whichever transport a request came by: from its tensors to those of its answer."""

from collections.abc import Awaitable
from dataclasses import replace

from loopline.scoring.asked import Caller
from loopline.scoring.block import Predictions
from loopline.scoring.columns import Columns
from loopline.scoring.engine import Engine
from loopline.server.protocols.oip.columns import Layout, columns
from loopline.server.protocols.oip.outputs import explanation_tensor, output_tensors, wanted_outputs
from loopline.server.protocols.oip.tensors import InferAnswer, InferRequest, Tensor, answer_parameters
from loopline.server.scoring.calls import awaited, require_explainable
from loopline.server.scoring.explaining import explain
from loopline.server.scoring.later import Later
from loopline.server.scoring.made_once import MadeOnce
from loopline.server.scoring.predicting import Predicting
from loopline.server.scoring.together import Together


class Inference:
    """Answers inference requests for the tasks of one event loop."""

    def __init__(self, predicting: Predicting) -> None:
        self._predicting = predicting
        self._together = Together(predicting, Predictions.each)
        self._layouts = MadeOnce(Layout.of)

    def infer(self, engine: Engine, request: InferRequest, caller: Caller) -> InferAnswer | Awaitable[InferAnswer]:
        """The answer, at once or to be waited for; see `Predicting.predict`.

        Raises `InvalidInput` as `columns` and `wanted_outputs`, before anything is scored.
        """
        wanted = wanted_outputs(request, engine.deployment.output)
        rows = columns(request, self._layouts.of(engine.contract))
        return self._infer(engine, request, wanted, rows, caller)

    def infer_soon(
        self, engine: Engine, request: InferRequest, caller: Caller
    ) -> InferAnswer | Later | Awaitable[InferAnswer]:
        """As `infer`, with others who ask at the same time where that is possible: then the answer comes to who takes it from there."""
        wanted = wanted_outputs(request, engine.deployment.output)
        rows = columns(request, self._layouts.of(engine.contract))
        if request.explains or not self._together.takes(engine, rows, caller):
            return self._infer(engine, request, wanted, rows, caller)

        def answered(found: Predictions | Exception) -> InferAnswer | Exception:
            if isinstance(found, Exception):
                return found
            return _answer(engine, request, output_tensors(wanted, found, engine.deployment.output))

        return self._together.predict(engine, rows, caller).then(answered)

    def _infer(
        self, engine: Engine, request: InferRequest, wanted: tuple[str, ...], rows: Columns, caller: Caller
    ) -> InferAnswer | Awaitable[InferAnswer]:
        if request.explains:
            require_explainable(engine, rows.count)
        found = self._predicting.predict(engine, rows, caller)
        if isinstance(found, Predictions) and not request.explains:
            return _answer(engine, request, output_tensors(wanted, found, engine.deployment.output))
        return self._waited(engine, request, wanted, found, caller.deadline)

    async def _waited(
        self,
        engine: Engine,
        request: InferRequest,
        wanted: tuple[str, ...],
        found: Predictions | Awaitable[Predictions],
        deadline: float | None,
    ) -> InferAnswer:
        predictions = await awaited(found)
        tensors = output_tensors(wanted, predictions, engine.deployment.output)
        left_out: dict[str, str] = {}
        if request.explains:
            explanations, left_out = await explain(engine, predictions, deadline)
            tensors = (*tensors, explanation_tensor(explanations))
        answer = _answer(engine, request, tensors)
        return replace(answer, parameters={**answer.parameters, **left_out}) if left_out else answer


def _answer(engine: Engine, request: InferRequest, tensors: tuple[Tensor, ...]) -> InferAnswer:
    deployment = engine.deployment
    return InferAnswer(deployment.endpoint, str(deployment.version), tensors, request.id, answer_parameters(request))
