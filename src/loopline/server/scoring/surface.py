"""Everything that a scoring process answers over HTTP."""

from functools import cache

import msgspec

from loopline.clock import Clock
from loopline.server.scoring.endpoints import Endpoints
from loopline.server.scoring.http import Response
from loopline.server.scoring.metrics import Metrics
from loopline.server.scoring.mlflow_endpoints import MlflowEndpoints
from loopline.server.scoring.oip_endpoints import OipEndpoints
from loopline.server.scoring.openapi import description
from loopline.server.scoring.predicting import Predicting
from loopline.server.scoring.repository import Repository
from loopline.server.scoring.routes import Call, Public, Route


def all_routes(predicting: Predicting, metrics: Metrics, repository: Repository, *, clock: Clock) -> list[Route]:
    """The routes of every protocol, and that of their description."""
    open_to_all = Public("it says what the documentation says, of no installation in particular")
    routes = [
        *Endpoints(predicting, metrics).routes(),
        *OipEndpoints(predicting, repository, clock=clock).routes(),
        *MlflowEndpoints(predicting, repository).routes(),
    ]

    @cache
    def described() -> Response:
        return Response.encoded_json(msgspec.json.encode(description(routes)))

    def openapi(call: Call) -> Response:  # noqa: ARG001 - the same for every caller
        return described()

    routes.append(Route("GET", "/openapi.json", open_to_all, openapi))
    return routes
