"""The Open Inference Protocol over REST: health, metadata, inference, and the repository of what is served."""

from collections.abc import Awaitable
from typing import Any

import msgspec

from loopline.access.permissions import Permission
from loopline.clock import Clock
from loopline.server.protocols.oip import metadata, rest
from loopline.server.protocols.oip.tensors import InferAnswer, InferRequest
from loopline.server.scoring.calls import caller, engine_of
from loopline.server.scoring.credentials import secret_of
from loopline.server.scoring.http import Response
from loopline.server.scoring.inference import Inference
from loopline.server.scoring.later import Later
from loopline.server.scoring.predicting import Predicting
from loopline.server.scoring.repository import Repository, check_load
from loopline.server.scoring.routes import Call, Public, Route

PROBE = Public("orchestrators probe without a token, and it tells nothing but yes or no")
_BINARY = ((b"content-type", b"application/octet-stream"), (b"x-content-type-options", b"nosniff"))


class IndexRequest(msgspec.Struct, frozen=True):
    """The body of `POST /v2/repository/index`: whether to name only what is ready."""

    ready: bool = False


class ChangeRequest(msgspec.Struct, frozen=True):
    """The body of a load or an unload."""

    parameters: dict[str, Any] | None = None


_index_decoder = msgspec.json.Decoder(IndexRequest)
_change_decoder = msgspec.json.Decoder(ChangeRequest)


class OipEndpoints:
    """The handlers, and the routes that lead to them."""

    def __init__(self, predicting: Predicting, repository: Repository, *, clock: Clock) -> None:
        self._inference = Inference(predicting)
        self._repository = repository
        self._clock = clock

    def routes(self) -> list[Route]:
        """The routes of the protocol."""
        reading, creating, acting = Permission.MODELS_READ, Permission.PREDICTIONS_CREATE, Permission.INCIDENTS_ACT
        return [
            Route("GET", "/v2", reading, self.server_metadata),
            Route("GET", "/v2/health/live", PROBE, self.live),
            Route("GET", "/v2/health/ready", PROBE, self.ready),
            Route("GET", "/v2/models/{endpoint}", reading, self.model_metadata),
            Route("GET", "/v2/models/{endpoint}/ready", reading, self.model_ready),
            Route("GET", "/v2/models/{endpoint}/versions/{version}", reading, self.model_metadata),
            Route("GET", "/v2/models/{endpoint}/versions/{version}/ready", reading, self.model_ready),
            Route("POST", "/v2/models/{endpoint}/infer", creating, self.infer),
            Route("POST", "/v2/models/{endpoint}/versions/{version}/infer", creating, self.infer),
            Route("POST", "/v2/repository/index", reading, self.index),
            Route("POST", "/v2/repository/models/{endpoint}/load", acting, self.load),
            Route("POST", "/v2/repository/models/{endpoint}/unload", acting, self.unload),
        ]

    def live(self, call: Call) -> Response:  # noqa: ARG002 - that it answers is the answer
        return Response.json({"live": True})

    def ready(self, call: Call) -> Response:
        ready = self._repository.is_ready(call.serving)
        return Response.json({"ready": ready}, status=200 if ready else 503)

    def server_metadata(self, call: Call) -> Response:  # noqa: ARG002 - the same for every caller
        return Response.json(metadata.server_metadata())

    def model_metadata(self, call: Call) -> Response:
        engine = engine_of(call)
        deployment = engine.deployment
        return Response.json(
            metadata.model_metadata(deployment.endpoint, deployment.version, engine.contract, deployment.output)
        )

    def model_ready(self, call: Call) -> Response:
        engine = engine_of(call)
        ready = self._repository.is_engine_ready(engine)
        return Response.json({"name": engine.deployment.endpoint, "ready": ready}, status=200 if ready else 503)

    def infer(self, call: Call) -> Response | Later | Awaitable[Response]:
        engine = engine_of(call)
        request = rest.decode(call.body, call.headers.get(rest.HEADER_LENGTH))
        found = self._inference.infer_soon(engine, request, caller(call))
        if isinstance(found, Later):
            return found.then(lambda came: came if isinstance(came, Exception) else _response(came, request))
        return _response(found, request) if isinstance(found, InferAnswer) else _waited(found, request)

    def index(self, call: Call) -> Response:
        asked = _index_decoder.decode(call.body or b"{}")
        secret = secret_of(call.headers.get(b"authorization", b""))
        found = self._repository.index(call.serving, secret, self._clock.now())
        return Response.json([one for one in found if one.state == "READY" or not asked.ready])

    def load(self, call: Call) -> Response:
        engine = engine_of(call)
        check_load((_change_decoder.decode(call.body or b"{}").parameters or {}).keys())
        self._repository.load(engine, _principal(call))
        return Response.json({})

    def unload(self, call: Call) -> Response:
        engine = engine_of(call)
        _change_decoder.decode(call.body or b"{}")
        self._repository.unload(engine, _principal(call))
        return Response.json({})


async def _waited(found: Awaitable[InferAnswer], request: InferRequest) -> Response:
    return _response(await found, request)


def _response(answer: InferAnswer, request: InferRequest) -> Response:
    body, json_length = rest.encode(answer, request)
    if json_length is None:
        return Response.encoded_json(body)
    return Response(200, (*_BINARY, (rest.HEADER_LENGTH, str(json_length).encode())), body)


def _principal(call: Call) -> str:
    return call.identity.principal if call.identity else ""
