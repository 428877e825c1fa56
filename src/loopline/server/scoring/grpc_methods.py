"""What each gRPC method answers: from the bytes of its request to those of its response."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loopline.access.identity import Identity, require
from loopline.access.permissions import Permission
from loopline.clock import Clock
from loopline.scoring.asked import Caller
from loopline.server.protocols.oip import grpc, metadata
from loopline.server.protocols.oip.messages import messages, parse
from loopline.server.protocols.oip.tensors import InferAnswer
from loopline.server.scoring.calls import served_engine
from loopline.server.scoring.credentials import secret_of
from loopline.server.scoring.following import Follower, may_be_news
from loopline.server.scoring.inference import Inference
from loopline.server.scoring.repository import Repository, check_load
from loopline.server.scoring.serving import Serving
from loopline.server.scoring.tracing import Trace

Head = Mapping[str, str]


@dataclass(slots=True)
class Asked:
    """A call's head, which is its metadata; when it arrived and until when an answer is waited for, by `time.perf_counter`; and who asks,
    once that is known.
    """

    head: Head
    arrived: float
    deadline: float | None = None
    trace: Trace | None = None
    principal: str | None = None


class GrpcMethods:
    """Answers by what is `current`ly served, and by what its `follower` finds to be served since."""

    def __init__(
        self,
        inference: Inference,
        repository: Repository,
        current: Callable[[], Serving],
        follower: Callable[[], Follower | None],
        *,
        clock: Clock,
    ) -> None:
        self._inference = inference
        self._repository = repository
        self._current = current
        self._follower = follower
        self._clock = clock
        self._simple: Mapping[str, Callable[[Any, Serving, Asked], Mapping[str, Any]]] = {
            "ServerLive": lambda *_: {"live": True},
            "ServerReady": lambda _, serving, __: {"ready": self._repository.is_ready(serving)},
            "ServerMetadata": self._server_metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }

    async def answer(self, method: str, content: bytes, asked: Asked) -> bytes:
        """The response to a call.

        Raises errors of the one tree, and whatever else fails.
        """
        request = parse(f"{method}Request", content)
        try:
            return await self._answered(method, request, asked)
        except Exception as error:
            follower = self._follower()
            if follower is None or not may_be_news(error, follower):
                raise
        await follower.catch_up()
        return await self._answered(method, request, asked)

    async def _answered(self, method: str, request: Any, asked: Asked) -> bytes:
        serving = self._current()
        if method == "ModelInfer":
            return await self._infer(request, serving, asked)
        made = self._simple[method](request, serving, asked)
        return _bytes(messages()[f"{method}Response"](**made))

    async def _infer(self, message: Any, serving: Serving, asked: Asked) -> bytes:
        identity = self._identified(serving, asked, Permission.PREDICTIONS_CREATE, message.model_name)
        engine = served_engine(serving, message.model_name, message.model_version or None)
        request = grpc.decode(message)
        who = Caller(
            principal=identity.principal,
            request_id=asked.head.get("idempotency-key"),
            arrived=asked.arrived,
            deadline=asked.deadline,
            trace_id=asked.trace.id if asked.trace else None,
            stages=asked.trace.stages if asked.trace else None,
        )
        found = self._inference.infer(engine, request, who)
        return _bytes(grpc.encode(found if isinstance(found, InferAnswer) else await found, request))

    def _server_metadata(self, _: Any, serving: Serving, asked: Asked) -> Mapping[str, Any]:
        self._identified(serving, asked, Permission.MODELS_READ)
        return metadata.server_metadata()

    def _model_ready(self, request: Any, serving: Serving, asked: Asked) -> Mapping[str, Any]:
        self._identified(serving, asked, Permission.MODELS_READ, request.name)
        engine = served_engine(serving, request.name, request.version or None)
        return {"ready": self._repository.is_engine_ready(engine)}

    def _model_metadata(self, request: Any, serving: Serving, asked: Asked) -> Mapping[str, Any]:
        self._identified(serving, asked, Permission.MODELS_READ, request.name)
        engine = served_engine(serving, request.name, request.version or None)
        deployment = engine.deployment
        return metadata.model_metadata(deployment.endpoint, deployment.version, engine.contract, deployment.output)

    def _index(self, request: Any, serving: Serving, asked: Asked) -> Mapping[str, Any]:
        self._identified(serving, asked, Permission.MODELS_READ)
        found = self._repository.index(serving, _secret(asked.head), self._clock.now())
        kept = [one for one in found if one.state == "READY" or not request.ready]
        return {
            "models": [
                {"name": one.name, "version": one.version, "state": one.state, "reason": one.reason} for one in kept
            ]
        }

    def _load(self, request: Any, serving: Serving, asked: Asked) -> Mapping[str, Any]:
        name = _model_name(request)
        identity = self._identified(serving, asked, Permission.INCIDENTS_ACT, name)
        check_load(request.parameters)
        self._repository.load(served_engine(serving, name), identity.principal)
        return {"model_name": name, "isLoaded": True}

    def _unload(self, request: Any, serving: Serving, asked: Asked) -> Mapping[str, Any]:
        name = _model_name(request)
        identity = self._identified(serving, asked, Permission.INCIDENTS_ACT, name)
        self._repository.unload(served_engine(serving, name), identity.principal)
        return {"model_name": name, "isUnloaded": True}

    def _identified(
        self, serving: Serving, asked: Asked, permission: Permission, endpoint: str | None = None
    ) -> Identity:
        identity = serving.identify(_secret(asked.head), self._clock.now(), endpoint)
        asked.principal = identity.principal
        require(identity, permission)
        return identity


def _secret(head: Head) -> str:
    return secret_of(head.get("authorization", "").encode("latin-1", "replace"))


def _model_name(request: Any) -> str:
    """KServe's messages have the model's name where Triton's have that of the repository."""
    found: str = request.model_name or request.repository_name
    return found


def _bytes(message: Any) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded
