"""The OpenAPI 3.1 description of the scoring process: the routes with their permissions, and the bodies' schemas from their types."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from loopline.server.protocols.mlflow import CSV, InvocationBody
from loopline.server.protocols.oip.metadata import VERSION
from loopline.server.protocols.oip.rest import InferenceBody
from loopline.server.scoring.answers import Answers
from loopline.server.scoring.oip_endpoints import ChangeRequest, IndexRequest
from loopline.server.scoring.reading import PredictRequest
from loopline.server.scoring.repository import IndexEntry
from loopline.server.scoring.routes import Public, Route

_JSON, _TEXT, _BINARY = "application/json", "text/plain", "application/octet-stream"


class Problem(msgspec.Struct, frozen=True):
    """What is wrong, its stable code, and what to do."""

    error: str
    code: str
    remedy: str


class Ready(msgspec.Struct, frozen=True):
    """Whether what was asked about is ready."""

    ready: bool
    name: str | None = None


class Live(msgspec.Struct, frozen=True):
    """Whether the process lives."""

    live: bool


class ServerDescription(msgspec.Struct, frozen=True):
    """The server, its version and the protocol's extensions that it speaks."""

    name: str
    version: str
    extensions: list[str]


class TensorDescription(msgspec.Struct, frozen=True):
    """A tensor that a model takes or gives; -1 stands for the number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelDescription(msgspec.Struct, frozen=True):
    """A model with its inputs and outputs."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorDescription]
    outputs: list[TensorDescription]


class OutputTensor(msgspec.Struct, frozen=True):
    """An output; without `data` it follows the JSON in binary, in as many bytes as `parameters` say."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class InferenceAnswer(msgspec.Struct, frozen=True):
    """The answer to an inference request."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class InvocationAnswer(msgspec.Struct, frozen=True):
    """A prediction for each row, or the one output of it that was asked for."""

    predictions: list[Any]
    explanations: list[Any] | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True)
class _Said:
    """What a route does, takes and gives; `also` are media types besides JSON that it takes."""

    summary: str
    tag: str
    takes: Any = None
    gives: Any = None
    media: str = _JSON
    also: tuple[str, ...] = ()
    optional: bool = False


_OIP, _PLAIN, _MLFLOW = "Open Inference Protocol", "Rows", "MLflow"
_METADATA = _Said("A model's inputs and outputs", _OIP, gives=ModelDescription)
_MODEL_READY = _Said("Whether a model can answer", _OIP, gives=Ready)
_INFER = _Said("Predictions for tensors", _OIP, InferenceBody, InferenceAnswer, also=(_BINARY,))
_INVOKE = _Said("Predictions for rows in MLflow's forms", _MLFLOW, InvocationBody, InvocationAnswer, also=(CSV,))
_PROBE = _Said("Whether the process is ready", _MLFLOW)

SAID: Mapping[tuple[str, str], _Said] = {
    ("POST", "/predict/{endpoint}"): _Said("Predictions for rows that are objects", _PLAIN, PredictRequest, Answers),
    ("GET", "/metrics"): _Said("Metrics for Prometheus", _PLAIN, gives=str, media=_TEXT),
    ("GET", "/openapi.json"): _Said("This description", _PLAIN, gives=dict[str, Any]),
    ("GET", "/v2"): _Said("The server", _OIP, gives=ServerDescription),
    ("GET", "/v2/health/live"): _Said("Whether the process lives", _OIP, gives=Live),
    ("GET", "/v2/health/ready"): _Said("Whether all that is served can answer", _OIP, gives=Ready),
    ("GET", "/v2/models/{endpoint}"): _METADATA,
    ("GET", "/v2/models/{endpoint}/ready"): _MODEL_READY,
    ("GET", "/v2/models/{endpoint}/versions/{version}"): _METADATA,
    ("GET", "/v2/models/{endpoint}/versions/{version}/ready"): _MODEL_READY,
    ("POST", "/v2/models/{endpoint}/infer"): _INFER,
    ("POST", "/v2/models/{endpoint}/versions/{version}/infer"): _INFER,
    ("POST", "/v2/repository/index"): _Said("What is served", _OIP, IndexRequest, list[IndexEntry], optional=True),
    ("POST", "/v2/repository/models/{endpoint}/load"): _Said(
        "Let an endpoint answer again", _OIP, ChangeRequest, dict[str, Any], optional=True
    ),
    ("POST", "/v2/repository/models/{endpoint}/unload"): _Said(
        "Let an endpoint answer no more", _OIP, ChangeRequest, dict[str, Any], optional=True
    ),
    ("GET", "/ping"): _PROBE,
    ("GET", "/health"): _PROBE,
    ("GET", "/version"): _Said("The version of Loopline", _MLFLOW, gives=str, media=_TEXT),
    ("POST", "/invocations"): _INVOKE,
    ("POST", "/invocations/{endpoint}"): _INVOKE,
    ("POST", "/endpoints/{endpoint}/invocations"): _INVOKE,
}


def description(routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI document of `routes`, JSON-ready. Raises `KeyError` for a route that `SAID` says nothing of."""
    used = [SAID[route.method, route.path] for route in routes]
    types = list(dict.fromkeys(kind for said in used for kind in (said.takes, said.gives) if _is_struct(kind)))
    _, schemas = msgspec.json.schema_components(
        [*types, IndexEntry, Problem], ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for route, said in zip(routes, used, strict=True):
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, said)
    bearer = {"type": "http", "scheme": "bearer", "description": "A token, as `loopline tokens issue` gives it."}
    basic = {"type": "http", "scheme": "basic", "description": "A token as the password of any user."}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Loopline scoring", "version": VERSION},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"bearer": bearer, "basic": basic}},
    }


def _operation(route: Route, said: _Said) -> dict[str, Any]:
    public = isinstance(route.permission, Public)
    names = [part[1:-1] for part in route.parts if part.startswith("{")]
    operation: dict[str, Any] = {
        "operationId": "_".join([route.method.lower(), *(part.strip("{}").replace(".", "_") for part in route.parts)]),
        "summary": said.summary,
        "tags": [said.tag],
        "security": [] if public else [{"bearer": []}, {"basic": []}],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in names
        ],
        "responses": {"200": _answer(said), "default": _problem()},
    }
    if not public:
        operation["description"] = f"Needs the permission `{route.permission}`."
    if said.takes is not None:
        content = {
            _JSON: {"schema": _schema(said.takes)},
            **{media: {"schema": {"type": "string"}} for media in said.also},
        }
        operation["requestBody"] = {"required": not said.optional, "content": content}
    return operation


def _answer(said: _Said) -> dict[str, Any]:
    if said.gives is None:
        return {"description": said.summary}
    return {"description": said.summary, "content": {said.media: {"schema": _schema(said.gives)}}}


def _problem() -> dict[str, Any]:
    return {"description": "What is wrong, and what to do", "content": {_JSON: {"schema": _schema(Problem)}}}


def _schema(kind: Any) -> dict[str, Any]:
    [schema], _ = msgspec.json.schema_components([kind], ref_template="#/components/schemas/{name}")
    return schema


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
