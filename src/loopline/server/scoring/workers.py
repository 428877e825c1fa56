"""Several workers on one listening socket: forked from a process that has loaded the code once, and replaced when they die.

The parent scores nothing and reads nothing that can be wrong; it waits. What workers share they share by the fork: the code, and
the socket, so that a connection that waits for a worker which dies is taken by another. A worker whose parent is gone ends.
"""

import ctypes
import gc
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

import structlog

_PR_SET_PDEATHSIG = 1
_FIRST_DELAY = 0.05
_LONGEST_DELAY = 1.0  # with loading, whoever is killed again and again is back within two seconds
_STEADY_SECONDS = 2.0
_POLL_SECONDS = 0.05

_log = structlog.get_logger(__name__)


@dataclass
class _Slot:
    """A worker's place: who is in it, since when, and when the next may be started."""

    pid: int = 0
    started: float = 0.0
    delay: float = _FIRST_DELAY
    due: float = 0.0


class Workers:
    """Keeps `count` processes that call `work(slot)`; `run` returns once told to stop (SIGTERM, SIGINT) and all have ended."""

    def __init__(self, work: Callable[[int], None], count: int, *, drain_seconds: float) -> None:
        self._work = work
        self._slots = [_Slot() for _ in range(count)]
        self._drain_seconds = drain_seconds
        self._stopping = False

    def run(self) -> None:
        """Start them, and start again whoever dies: at once, and ever later where one dies young."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        gc.collect()
        gc.freeze()  # a collector that walks shared pages would copy them
        while not self._stopping:
            self._reap()
            for place, slot in enumerate(self._slots):
                if not slot.pid and time.monotonic() >= slot.due and not self._stopping:
                    self._start(place, slot)
            time.sleep(_POLL_SECONDS)
        self._end()

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signals call
        self._stopping = True

    def _start(self, number: int, slot: _Slot) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become_worker(self._work, number, parent)
        slot.pid, slot.started = pid, time.monotonic()

    def _reap(self) -> None:
        for slot in self._slots:
            ended, status = os.waitpid(slot.pid, os.WNOHANG) if slot.pid else (0, 0)
            if not ended:
                continue
            now = time.monotonic()
            slot.delay = _FIRST_DELAY if now - slot.started >= _STEADY_SECONDS else slot.delay
            slot.pid, slot.due = 0, now + slot.delay
            _log.warning("worker died", pid=ended, exit_code=os.waitstatus_to_exitcode(status), again_in=slot.delay)
            slot.delay = min(2 * slot.delay, _LONGEST_DELAY)

    def _end(self) -> None:
        deadline = time.monotonic() + self._drain_seconds
        for slot in self._slots:
            _signal(slot.pid, signal.SIGTERM)
        while any(slot.pid for slot in self._slots):
            for slot in self._slots:
                if slot.pid and os.waitpid(slot.pid, os.WNOHANG)[0]:
                    slot.pid = 0
                elif time.monotonic() > deadline:
                    _signal(slot.pid, signal.SIGKILL)
            time.sleep(_POLL_SECONDS)


def _become_worker(work: Callable[[int], None], number: int, parent: int) -> None:
    """Never returns: what the parent has on its stack is not the child's to run."""
    status = 1
    try:
        for received in (signal.SIGTERM, signal.SIGINT):
            signal.signal(received, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == parent:  # it may have died before the line above
            work(number)
        status = 0
    except BaseException as error:
        _log.exception("worker failed", error=repr(error))
    finally:
        os._exit(status)


def _signal(pid: int, number: signal.Signals) -> None:
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
