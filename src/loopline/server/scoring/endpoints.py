"""What the scoring process answers: health, metadata, predictions, metrics."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from loopline.access.permissions import Permission
from loopline.errors import InvalidInput, NotFound
from loopline.models.explainer import require_few
from loopline.models.explanation import Explanation
from loopline.scoring.engine import Engine
from loopline.scoring.record import Prediction
from loopline.server.protocols import oip
from loopline.server.scoring.group_commit import GroupCommit
from loopline.server.scoring.http import Response
from loopline.server.scoring.metrics import CONTENT_TYPE, Metrics
from loopline.server.scoring.routes import Call, Public, Route


class PredictRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /predict/{endpoint}`. With `request_id` a request that is sent again gets the same prediction ids;
    with `explain` each prediction comes with what each field added to it.
    """

    rows: list[dict[str, Any]]
    request_id: str | None = None
    explain: bool = False


_predict_decoder = msgspec.json.Decoder(PredictRequest)
_record_encoder = msgspec.msgpack.Encoder()
_ANSWERED = (
    "prediction_id",
    "key",
    "score",
    "decision",
    "action",
    "propensity",
    "model_version",
    "decision_version",
    "variant",
    "degraded",
)


class Endpoints:
    """The handlers, and the routes that lead to them."""

    def __init__(self, commit: GroupCommit, metrics: Metrics) -> None:
        self._commit = commit
        self._metrics = metrics

    def routes(self) -> list[Route]:
        """All routes of the scoring process."""
        reading, creating = Permission.MODELS_READ, Permission.PREDICTIONS_CREATE
        probe = Public("orchestrators probe without a token, and it tells nothing but yes or no")
        return [
            Route("GET", "/v2", reading, self.server_metadata),
            Route("GET", "/v2/health/live", probe, self.live),
            Route("GET", "/v2/health/ready", probe, self.ready),
            Route("GET", "/v2/models/{endpoint}", reading, self.model_metadata),
            Route("GET", "/v2/models/{endpoint}/ready", reading, self.model_ready),
            Route("GET", "/v2/models/{endpoint}/versions/{version}", reading, self.model_metadata),
            Route("GET", "/v2/models/{endpoint}/versions/{version}/ready", reading, self.model_ready),
            Route("POST", "/v2/models/{endpoint}/infer", creating, self.infer),
            Route("POST", "/v2/models/{endpoint}/versions/{version}/infer", creating, self.infer),
            Route("POST", "/predict/{endpoint}", creating, self.predict),
            Route("GET", "/metrics", Permission.STATUS_READ, self.metrics),
        ]

    async def live(self, call: Call) -> Response:  # noqa: ARG002 - that it answers is the answer
        return Response.json({"live": True})

    async def ready(self, call: Call) -> Response:
        ready = call.serving.ready
        return Response.json({"ready": ready}, status=200 if ready else 503)

    async def server_metadata(self, call: Call) -> Response:  # noqa: ARG002 - the same for every caller
        return Response.json({"name": "loopline", "version": "2", "extensions": []})

    async def model_metadata(self, call: Call) -> Response:
        engine = _engine(call)
        deployment = engine.deployment
        return Response.json(oip.model_metadata(deployment.endpoint, deployment.version, engine.contract))

    async def model_ready(self, call: Call) -> Response:
        engine = _engine(call)
        name = engine.deployment.endpoint
        return Response.json({"name": name, "ready": engine.ready}, status=200 if engine.ready else 503)

    async def predict(self, call: Call) -> Response:
        request = _predict_decoder.decode(call.body)
        if request.explain:
            _require_explainable(call, len(request.rows))
        predictions = await self._predict(call, request.rows, request.request_id)
        answered = [_answered(prediction) for prediction in predictions]
        if request.explain:
            for answer, found in zip(answered, await _explain(call, predictions), strict=True):
                answer["explanation"] = found
        return Response.json({"predictions": answered})

    async def infer(self, call: Call) -> Response:
        if b"inference-header-content-length" in call.headers:
            raise _no_binary()
        request = oip.decode(call.body)
        outputs = oip.wanted_outputs(request)
        engine = _engine(call)
        rows = oip.rows(request)
        if oip.wants_explanation(request):
            _require_explainable(call, len(rows))
        predictions = await self._predict(call, rows, None)
        deployment = engine.deployment
        answer = oip.infer_response(deployment.endpoint, deployment.version, request, predictions, outputs)
        if oip.wants_explanation(request):
            answer["outputs"].append(oip.explanation_output(await _explain(call, predictions)))
        return Response.json(answer)

    async def metrics(self, call: Call) -> Response:  # noqa: ARG002 - the same for every caller
        return Response.text(self._metrics.exposition(), CONTENT_TYPE)

    async def _predict(self, call: Call, rows: Sequence[Mapping[str, Any]], request_id: str | None) -> list[Prediction]:
        header = call.headers.get(b"idempotency-key")
        principal = call.identity.principal if call.identity else None
        predictions = _engine(call).predict(
            rows, principal=principal, request_id=request_id or (header.decode("latin-1") if header else None)
        )
        # An answer is only given once its record is safe.
        if predictions:
            await self._commit.append([_record_encoder.encode(prediction) for prediction in predictions])
        self._metrics.count_predictions(predictions)
        return predictions


def _require_explainable(call: Call, rows: int) -> None:
    """Before anything is scored: what cannot be explained is not predicted either, and the caller asks again without."""
    require_few(rows)
    _engine(call).explainer()


async def _explain(call: Call, predictions: list[Prediction]) -> list[Explanation | None]:
    return await asyncio.to_thread(_engine(call).explain, predictions)


def _answered(prediction: Prediction) -> dict[str, Any]:
    return {name: getattr(prediction, name) for name in _ANSWERED}


def _no_binary() -> InvalidInput:
    return InvalidInput(
        "oip.binary_not_supported",
        "tensors in binary are an extension that is not spoken here",
        remedy="Send JSON; with tritonclient: set_data_from_numpy(..., binary_data=False).",
    )


def _engine(call: Call) -> Engine:
    engine = call.serving.engine(call.params["endpoint"])
    version = call.params.get("version")
    if version is not None and version != str(engine.deployment.version):
        raise NotFound(
            "scoring.version_not_served",
            f"endpoint {engine.deployment.endpoint!r} does not serve version {version[:20]!r}",
            remedy=f"It serves version {engine.deployment.version}.",
        )
    return engine
