"""Whether the process lives and can work: for probes, which hold no token."""

from typing import Literal

import msgspec
from litestar import get

from loopline.loop.status import projects
from loopline.server.control.guard import Public
from loopline.server.control.inputs import Home

_PROBE = Public("a probe holds no token, and learns only whether the server works")


class Health(msgspec.Struct, frozen=True):
    """What a probe is told."""

    status: Literal["live", "ready"]


@get("/health/live", permission=_PROBE, sync_to_thread=False)
def live() -> Health:
    """The process answers."""
    return Health("live")


@get("/health/ready", permission=_PROBE, sync_to_thread=True)
def ready(home: Home) -> Health:
    """The database answers, too."""
    with home.database.reading() as tx:
        projects(tx)
    return Health("ready")


HANDLERS = (live, ready)
