"""What the scoring process answers: health, metadata, predictions, metrics."""

import asyncio
from collections.abc import Awaitable
from itertools import repeat

import msgspec

from loopline.access.permissions import Permission
from loopline.errors import InvalidInput, NotFound
from loopline.models.explainer import require_few
from loopline.models.explanation import Explanation
from loopline.scoring.block import Block, Predictions
from loopline.scoring.columns import Columns
from loopline.scoring.engine import Caller, Engine
from loopline.server.protocols import oip
from loopline.server.scoring.http import Response
from loopline.server.scoring.metrics import CONTENT_TYPE, Metrics
from loopline.server.scoring.predicting import Predicting
from loopline.server.scoring.reading import Readers
from loopline.server.scoring.routes import Call, Public, Route

TIMEOUT_HEADER = b"x-timeout-ms"
_LONGEST_MS = 3_600_000


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A prediction as it is answered."""

    prediction_id: str
    key: str
    score: float | None
    decision: str
    action: str | None
    propensity: float | None
    degraded: tuple[str, ...]
    model_version: int
    decision_version: int
    variant: str


_OWN = ("prediction_id", "key", "score", "decision", "action", "propensity")


class _Answers(msgspec.Struct, frozen=True, gc=False):
    predictions: list[Answer]


class Endpoints:
    """The handlers, and the routes that lead to them."""

    def __init__(self, predicting: Predicting, metrics: Metrics) -> None:
        self._predicting = predicting
        self._readers = Readers()
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

    def live(self, call: Call) -> Response:  # noqa: ARG002 - that it answers is the answer
        return Response.json({"live": True})

    def ready(self, call: Call) -> Response:
        ready = call.serving.ready
        return Response.json({"ready": ready}, status=200 if ready else 503)

    def server_metadata(self, call: Call) -> Response:  # noqa: ARG002 - the same for every caller
        return Response.json({"name": "loopline", "version": "2", "extensions": []})

    def model_metadata(self, call: Call) -> Response:
        engine = _engine(call)
        deployment = engine.deployment
        return Response.json(oip.model_metadata(deployment.endpoint, deployment.version, engine.contract))

    def model_ready(self, call: Call) -> Response:
        engine = _engine(call)
        name = engine.deployment.endpoint
        return Response.json({"name": name, "ready": engine.ready}, status=200 if engine.ready else 503)

    def predict(self, call: Call) -> Response | Awaitable[Response]:
        engine = _engine(call)
        rows, request = self._readers.of(engine.contract).read(call.body)
        if request.explain:
            _require_explainable(call, rows.count if isinstance(rows, Columns) else len(rows))
        found = self._predicting.predict(engine, rows, caller(call, request.request_id))
        if isinstance(found, Predictions) and not request.explain:
            return Response.json(_Answers(_answers(found)))
        return self._answered(call, found, explain=request.explain)

    async def _answered(self, call: Call, found: Predictions | Awaitable[Predictions], *, explain: bool) -> Response:
        predictions = found if isinstance(found, Predictions) else await found
        answers = _answers(predictions)
        if not explain:
            return Response.json(_Answers(answers))
        explained = zip(answers, await _explain(call, predictions), strict=True)
        return Response.json(
            {"predictions": [{**msgspec.structs.asdict(one), "explanation": why} for one, why in explained]}
        )

    async def infer(self, call: Call) -> Response:
        if b"inference-header-content-length" in call.headers:
            raise _no_binary()
        request = oip.decode(call.body)
        outputs = oip.wanted_outputs(request)
        engine = _engine(call)
        rows = oip.rows(request)
        if oip.wants_explanation(request):
            _require_explainable(call, len(rows))
        found = self._predicting.predict(engine, rows, caller(call))
        predictions = found if isinstance(found, Predictions) else await found
        deployment = engine.deployment
        answer = oip.infer_response(deployment.endpoint, deployment.version, request, predictions, outputs)
        if oip.wants_explanation(request):
            answer["outputs"].append(oip.explanation_output(await _explain(call, predictions)))
        return Response.json(answer)

    def metrics(self, call: Call) -> Response:  # noqa: ARG002 - the same for every caller
        return Response.text(self._metrics.exposition(), CONTENT_TYPE)


def caller(call: Call, request_id: str | None = None) -> Caller:
    """Who asks, by what the request's head says: its principal, its idempotency key, how long an answer is waited for."""
    header = call.headers.get(b"idempotency-key")
    return Caller(
        principal=call.identity.principal if call.identity else None,
        request_id=request_id or (header.decode("latin-1") if header else None),
        arrived=call.arrived,
        deadline=_deadline(call),
        trace_id=call.trace.id if call.trace else None,
        stages=call.trace.stages if call.trace else None,
    )


def _deadline(call: Call) -> float | None:
    given = call.headers.get(TIMEOUT_HEADER)
    if given is None:
        return None
    if not given.isdigit() or not 0 < int(given) <= _LONGEST_MS:
        raise InvalidInput(
            "http.bad_timeout",
            f"the header {TIMEOUT_HEADER.decode()} is not a number of milliseconds",
            remedy=f"Send a whole number from 1 to {_LONGEST_MS}, or leave it out.",
        )
    return call.arrived + int(given) / 1000


def _require_explainable(call: Call, rows: int) -> None:
    """Before anything is scored: what cannot be explained is not predicted either, and the caller asks again without."""
    require_few(rows)
    _engine(call).explainer()


async def _explain(call: Call, predictions: Predictions) -> list[Explanation | None]:
    return await asyncio.to_thread(_engine(call).explain, predictions)


def _answers(predictions: Predictions) -> list[Answer]:
    """In the order of the request; of one block, as nearly always, without a detour."""
    return predictions.ordered([_block_answers(block) for block in predictions.blocks])


def _block_answers(block: Block) -> list[Answer]:
    columns = (block.column(name) for name in _OWN)
    model, decision, variant = block.model_version, block.decision_version, block.variant
    return list(map(Answer, *columns, block.column("degraded"), repeat(model), repeat(decision), repeat(variant)))


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
