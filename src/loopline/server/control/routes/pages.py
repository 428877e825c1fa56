"""The status page for a browser."""

from importlib.resources import files

from litestar import MediaType, Response, get

from loopline.access.permissions import Permission
from loopline.loop.status import status
from loopline.server.control.guard import Public
from loopline.server.control.inputs import Caller, Home
from loopline.server.control.page import status_page

_STYLE = files("loopline.server.control").joinpath("page.css").read_bytes()


@get(
    "/",
    permission=Permission.STATUS_READ,
    include_in_schema=False,
    media_type=MediaType.HTML,
    sync_to_thread=True,
)
def home_page(home: Home, caller: Caller) -> bytes:
    """How every project stands."""
    return status_page(status(home), caller.principal)


@get("/page.css", permission=Public("how pages look, no data"), include_in_schema=False, sync_to_thread=False)
def style() -> Response[bytes]:
    """The pages' style sheet."""
    return Response(_STYLE, media_type="text/css")


HANDLERS = (home_page, style)
