"""How things stand, for Prometheus."""

from litestar import Response, get

from loopline.access.permissions import Permission
from loopline.loop.status import status
from loopline.server.control.exposition import CONTENT_TYPE, exposition
from loopline.server.control.inputs import Home


@get("/metrics", permission=Permission.STATUS_READ, include_in_schema=False, sync_to_thread=True)
def read_metrics(home: Home) -> Response[bytes]:
    """Gauges in the text format; the scraper needs a token of its own."""
    return Response(exposition(status(home)).encode(), media_type=CONTENT_TYPE)
