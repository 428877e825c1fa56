"""How things stand."""

from litestar import get

from loopline.access.permissions import Permission
from loopline.loop.status import ProjectStatus, status
from loopline.server.control.inputs import Home


@get("/status", permission=Permission.STATUS_READ, sync_to_thread=True)
def read_status(home: Home) -> list[ProjectStatus]:
    """Every project: what serves, since when, and what is wrong."""
    return status(home)
