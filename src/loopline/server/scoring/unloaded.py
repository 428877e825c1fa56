"""Endpoints that were unloaded by hand: they answer no more, in any worker on this port, until they are loaded again or the process
starts anew. What is served is otherwise decided by the signed manifest alone, and an unloaded endpoint stays in it.
"""

from pathlib import Path
from urllib.parse import quote, unquote

import structlog

from loopline.errors import Unavailable
from loopline.storage.files import write_file

_log = structlog.get_logger(__name__)


class Unloaded:
    """The names of the endpoints. The workers of a port tell each other by files in `folder`; without one, one keeps it to itself."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self.names: frozenset[str] = frozenset()
        self.look()

    def look(self) -> None:
        """See what other workers unloaded or loaded."""
        if self._folder is not None:
            found = self._folder.glob("*.unloaded")
            self.names = frozenset(unquote(path.name.removesuffix(".unloaded")) for path in found)

    def unload(self, endpoint: str, principal: str) -> None:
        """Answer no more for an endpoint that is served."""
        if self._folder is not None:
            write_file(self._path(self._folder, endpoint), principal.encode(), durable=False)
        self.names |= {endpoint}
        _log.warning("endpoint unloaded", endpoint=endpoint, principal=principal)

    def load(self, endpoint: str, principal: str) -> None:
        """Answer again."""
        if endpoint in self.names:
            _log.warning("endpoint loaded", endpoint=endpoint, principal=principal)
        if self._folder is not None:
            self._path(self._folder, endpoint).unlink(missing_ok=True)
        self.names -= {endpoint}

    def refuse(self, endpoint: str) -> None:
        """Raise `Unavailable` "scoring.unloaded" where an endpoint was unloaded."""
        if endpoint in self.names:
            raise Unavailable(
                "scoring.unloaded",
                f"endpoint {endpoint!r} was unloaded by hand",
                remedy=f"An operator loads it again: POST /v2/repository/models/{endpoint}/load.",
            )

    @staticmethod
    def _path(folder: Path, endpoint: str) -> Path:
        return folder / f"{quote(endpoint, safe='')}.unloaded"
