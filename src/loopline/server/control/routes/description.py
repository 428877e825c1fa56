"""The API's description, from which clients are generated."""

from collections.abc import Mapping, Sequence
from functools import cache

import msgspec
from litestar import Litestar, Response, get
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ControllerRouterHandler

from loopline.access.permissions import Permission

API_VERSION = "1"


def description(routes: Sequence[ControllerRouterHandler], dependencies: Mapping[str, Provide]) -> HTTPRouteHandler:
    """The route that describes `routes`. What it tells is public knowledge, but deny is the default here, too."""

    @cache
    def described() -> bytes:
        # An application of its own: one with an OpenAPI configuration adds routes that declare no permission.
        config = OpenAPIConfig(
            title="Loopline",
            version=API_VERSION,
            security=[{"token": []}],
            components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
            use_handler_docstrings=True,
        )
        return msgspec.json.encode(
            Litestar(routes, dependencies=dependencies, openapi_config=config).openapi_schema.to_schema()
        )

    @get("/openapi.json", permission=Permission.STATUS_READ, include_in_schema=False, sync_to_thread=True)
    def read_description() -> Response[bytes]:
        return Response(described(), media_type="application/json")

    return read_description
