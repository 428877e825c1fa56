"""The access log: one line of JSON for each answer, written twice a second by each worker."""

from datetime import datetime, timedelta
from pathlib import Path
from time import perf_counter

import msgspec
import structlog

from loopline.clock import Clock
from loopline.server.scoring.http import Request

_MOST = 100_000
_log = structlog.get_logger(__name__)


class Line(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An answer. `at` (UTC) is when the request arrived; the path is without its query, and no body or token is kept."""

    at: datetime
    method: str
    path: str
    status: int
    ms: float
    bytes_in: int
    bytes_out: int
    principal: str | None = None
    trace_id: str | None = None


class AccessLog:
    """Gathers lines and appends them to `path`; without one it does nothing. Several workers may share a file.

    A file that is moved away is made anew, as log rotation expects. Lines that cannot be written are dropped and that is told.
    """

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._path = path
        self._lines: list[Line] = []
        self._dropped = 0
        self._clock = clock

    def note(self, request: Request, status: int, size: int, principal: str | None, trace_id: str | None) -> None:
        """Note an answer of `size` bytes."""
        if self._path is None:
            return
        if len(self._lines) >= _MOST:
            self._dropped += 1
            return
        took = perf_counter() - request.arrived
        self._lines.append(
            Line(
                at=self._clock.now() - timedelta(seconds=took),
                method=request.method,
                path=request.path.decode("latin-1"),
                status=status,
                ms=round(took * 1000, 3),
                bytes_in=len(request.body),
                bytes_out=size,
                principal=principal,
                trace_id=trace_id,
            )
        )

    def write(self) -> None:
        """Append what was noted."""
        if self._path is None or not self._lines:
            return
        lines, self._lines = self._lines, []
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab", buffering=0) as file:
                file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        except OSError as error:
            self._dropped += len(lines)
            _log.error("access log lines dropped", lines=self._dropped, error=str(error))
