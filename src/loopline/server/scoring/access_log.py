"""The access log: one line of JSON for each answer, written twice a second by each worker."""

from datetime import datetime, timedelta
from pathlib import Path
from time import perf_counter

import msgspec
import structlog

from loopline.clock import Clock

_MOST = 100_000
_log = structlog.get_logger(__name__)


class Line(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An answer. `at` (UTC) is when the request arrived; the path is without its query, and no body or token is kept. The method of
    calls by gRPC is `"GRPC"`, and their status the one that HTTP has for it.
    """

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

    def note(
        self,
        arrived: float,
        method: str,
        path: bytes,
        status: int,
        sizes: tuple[int, int],
        principal: str | None,
        trace_id: str | None,
    ) -> None:
        """Note an answer. `arrived` is by `time.perf_counter`, `sizes` are the bytes that came in and went out."""
        if self._path is None:
            return
        if len(self._lines) >= _MOST:
            self._dropped += 1
            return
        took = perf_counter() - arrived
        self._lines.append(
            Line(
                at=self._clock.now() - timedelta(seconds=took),
                method=method,
                path=path.decode("latin-1"),
                status=status,
                ms=round(took * 1000, 3),
                bytes_in=sizes[0],
                bytes_out=sizes[1],
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
