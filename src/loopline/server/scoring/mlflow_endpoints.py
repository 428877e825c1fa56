"""MLflow's scoring server, as its clients and SageMaker-like platforms call it."""

from collections.abc import Awaitable, Mapping
from typing import Any

import msgspec

from loopline.access.permissions import Permission
from loopline.errors import InvalidInput, NotFound
from loopline.scoring.block import Predictions
from loopline.scoring.engine import Engine
from loopline.server.protocols import mlflow
from loopline.server.protocols.oip.columns import Layout
from loopline.server.protocols.oip.metadata import VERSION
from loopline.server.scoring.answers import Answer, answers
from loopline.server.scoring.calls import awaited, caller, engine_of, require_explainable
from loopline.server.scoring.explaining import explain
from loopline.server.scoring.http import Response
from loopline.server.scoring.made_once import MadeOnce
from loopline.server.scoring.oip_endpoints import PROBE
from loopline.server.scoring.predicting import Predicting
from loopline.server.scoring.problem import problem
from loopline.server.scoring.repository import Repository
from loopline.server.scoring.routes import Call, Route
from loopline.server.scoring.serving import Serving

ENDPOINT_HEADER = b"x-loopline-endpoint"
WIDE = "outputs"


class MlflowEndpoints:
    """The handlers, and the routes that lead to them."""

    def __init__(self, predicting: Predicting, repository: Repository) -> None:
        self._predicting = predicting
        self._repository = repository
        self._layouts = MadeOnce(Layout.of)

    def routes(self) -> list[Route]:
        """The routes of MLflow's server, and those of its gateway's client, which names an endpoint in the path."""
        creating = Permission.PREDICTIONS_CREATE
        return [
            Route("GET", "/ping", PROBE, self.ping),
            Route("GET", "/health", PROBE, self.ping),
            Route("GET", "/version", creating, self.version, told_mlflow),
            Route("POST", "/invocations", creating, self.invoke, told_mlflow, the_endpoint),
            Route("POST", "/invocations/{endpoint}", creating, self.invoke, told_mlflow),
            Route("POST", "/endpoints/{endpoint}/invocations", creating, self.invoke, told_mlflow),
        ]

    def ping(self, call: Call) -> Response:
        ready = self._repository.is_ready(call.serving)
        return Response(200 if ready else 503, ((b"content-type", b"application/json"),), b"\n")

    def version(self, call: Call) -> Response:  # noqa: ARG002 - the same for every caller
        return Response.text(VERSION, "text/plain; charset=utf-8")

    def invoke(self, call: Call) -> Response | Awaitable[Response]:
        if "endpoint" not in call.params:
            raise _no_endpoint(call)
        engine = engine_of(call)
        kind = call.headers.get(b"content-type", b"").decode("latin-1")
        asked = mlflow.decode(call.body, kind, self._layouts.of(engine.contract))
        output = _output(asked.params, wide=engine.deployment.output.wide)
        explained = asked.params.get(mlflow.EXPLAIN) is True
        if explained:
            require_explainable(engine, asked.columns.count)
        request_id = asked.params.get(mlflow.REQUEST_ID)
        who = caller(call, request_id if isinstance(request_id, str) else None)
        found = self._predicting.predict(engine, asked.columns, who)
        if isinstance(found, Predictions) and not explained:
            return Response.json({"predictions": _predictions(found, output)})
        return self._waited(engine, found, output, explained=explained, deadline=who.deadline)

    async def _waited(
        self,
        engine: Engine,
        found: Predictions | Awaitable[Predictions],
        output: str | None,
        *,
        explained: bool,
        deadline: float | None,
    ) -> Response:
        predictions = await awaited(found)
        told = _predictions(predictions, output)
        if not explained:
            return Response.json({"predictions": told})
        explanations, left_out = await explain(engine, predictions, deadline)
        return Response.json({"predictions": told, "explanations": explanations, **left_out})


def the_endpoint(serving: Serving, headers: Mapping[bytes, bytes]) -> Mapping[str, str]:
    """The endpoint that a request without one in its path is for: that of its header, or the only one there is."""
    named = headers.get(ENDPOINT_HEADER)
    if named is not None:
        return {"endpoint": named.decode("utf-8", "replace")}
    return {"endpoint": next(iter(serving.engines))} if len(serving.engines) == 1 else {}


def told_mlflow(error: Exception) -> Response:
    """The answer that tells of an error, with MLflow's names in it besides ours."""
    response = problem(error)
    said = msgspec.json.decode(response.body)
    both = {"error_code": mlflow.error_code(response.status), "message": said["error"], **said}
    return Response(response.status, response.headers, msgspec.json.encode(both))


def _output(params: Mapping[str, Any], *, wide: bool) -> str | None:
    wanted = params.get(mlflow.OUTPUT)
    there = (*Answer.__struct_fields__, WIDE) if wide else Answer.__struct_fields__
    if wanted is not None and wanted not in there:
        raise InvalidInput(
            "mlflow.unknown_output",
            f"a prediction has no {str(wanted)[:50]!r}",
            remedy=f"There are {', '.join(there)}; without `output` a prediction is all of them.",
        )
    return wanted


def _predictions(found: Predictions, output: str | None) -> list[Any]:
    return answers(found) if output is None else found.column(output)


def _no_endpoint(call: Call) -> NotFound:
    many = "several endpoints are" if call.serving.engines else "nothing is"
    return NotFound(
        "mlflow.which_endpoint",
        f"{many} served here, and the request names none",
        remedy="POST /invocations/{endpoint}, or send the header x-loopline-endpoint.",
    )
