"""What is served, as the protocol's model repository: its index, and loading and unloading by hand.

The signed manifest decides what is served. So loading brings nothing here that it does not name, and unloading takes an endpoint out
of answering and of readiness, not out of the manifest.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import msgspec

from loopline.access.permissions import Permission
from loopline.errors import InvalidInput
from loopline.scoring.engine import Engine
from loopline.server.scoring.serving import Serving
from loopline.server.scoring.unloaded import Unloaded

_KNOWN = frozenset({"unload_dependents"})


class IndexEntry(msgspec.Struct, frozen=True):
    """One endpoint of the index; `reason` says why it is not ready."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str = ""


class Repository:
    """The endpoints of the signed manifests, without those that were unloaded."""

    def __init__(self, unloaded: Unloaded) -> None:
        self._unloaded = unloaded

    def is_ready(self, serving: Serving) -> bool:
        """Whether there is something to serve and all of it that was not unloaded can answer."""
        held = [engine for name, engine in serving.engines.items() if name not in self._unloaded.names]
        return bool(held) and all(engine.ready for engine in held)

    def is_engine_ready(self, engine: Engine) -> bool:
        """Whether an endpoint answers."""
        return engine.ready and engine.deployment.endpoint not in self._unloaded.names

    def index(self, serving: Serving, secret: str, now: datetime) -> list[IndexEntry]:
        """The endpoints of those projects in which the token may read models, by name."""
        allowed = {project for project in serving.projects if _may_read(serving, project, secret, now)}
        found = (engine for _, engine in sorted(serving.engines.items()) if engine.project in allowed)
        return [self._entry(engine) for engine in found]

    def load(self, engine: Engine, principal: str) -> None:
        """Let an endpoint answer again."""
        self._unloaded.load(engine.deployment.endpoint, principal)

    def unload(self, engine: Engine, principal: str) -> None:
        """Let an endpoint answer no more."""
        self._unloaded.unload(engine.deployment.endpoint, principal)

    def _entry(self, engine: Engine) -> IndexEntry:
        name, version = engine.deployment.endpoint, str(engine.deployment.version)
        if name in self._unloaded.names:
            return IndexEntry(name, version, "UNAVAILABLE", "unloaded")
        if not engine.ready:
            return IndexEntry(name, version, "UNAVAILABLE", "no model can answer")
        return IndexEntry(name, version, "READY")


def check_load(parameters: Iterable[str]) -> None:
    """Raises `InvalidInput` "oip.load_override" where a load brings a configuration or files of its own."""
    if set(parameters) - _KNOWN:
        raise InvalidInput(
            "oip.load_override",
            "a load brings no model and no configuration here: the signed manifest says what is served",
            remedy="Register and promote a version instead; load without parameters.",
        )


def _may_read(serving: Serving, project: str, secret: str, now: datetime) -> bool:
    return Permission.MODELS_READ in serving.permitted(project, secret, now)
