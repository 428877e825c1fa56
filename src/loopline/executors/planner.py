"""Traces pipelines from their pinned code in processes of their own, one for each code, kept warm.

A body that hangs, crashes or imports what clashes with another's code does no harm to whoever asks.
"""

import fcntl
import os
import select
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from loopline.errors import InvalidInput, Unavailable
from loopline.executors.frames import receive, send
from loopline.executors.planning_child import Answer, Question
from loopline.executors.processes import kill_all
from loopline.executors.slot import supervised
from loopline.pipelines.planning import Plan
from loopline.values import Window

WARM = 4
START_SECONDS = 60.0
TRACE_SECONDS = 20.0


class LocalPlanner:
    """Plans executions with the code they are pinned to. `folder` is where code is unpacked. One question at a time; any thread may ask.

    The processes of the `WARM` codes that were used last are kept; a body has `TRACE_SECONDS` to call its steps.
    """

    def __init__(self, artifacts_url: str, folder: Path, *, durable: bool = True) -> None:
        self._artifacts_url, self._folder, self._durable = artifacts_url, folder, durable
        self._warm: dict[str, _Asked] = {}
        self._lock = threading.Lock()
        self._closed = False

    def warm(self, code: str) -> None:
        """Start the process of this code, so that `plan` has not to wait for it. Raises `Unavailable` "pipeline.planner_failed"."""
        with self._lock:
            self._asked(code)

    def plan(self, code: str, function: str, params: dict[str, Any], window: Window | None) -> Plan:
        """The plan of the pipeline that `function` declares in the pinned `code`.

        Raises `InvalidInput` for what the pipeline refuses, also "pipeline.body_slow" and "pipeline.body_crashed", and `Unavailable`
        where the code cannot be imported here, or no process be started.
        """
        question = Question(function, params, (window.start, window.end) if window else None)
        with self._lock:
            answer = self._ask(code, question) or self._ask(code, question)  # the first may have been killed by someone
            if answer is None:
                raise InvalidInput(
                    "pipeline.body_crashed",
                    f"the process that called {function} died, twice",
                    remedy="The body only calls steps; let those do the work.",
                )
        return answer.plan()

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            self._closed = True
            for one in self._warm.values():
                one.end()
            self._warm.clear()

    def _ask(self, code: str, question: Question) -> Answer | None:
        asked = self._asked(code)
        answer = asked.ask(question)
        if answer is None or answer.error == "pipeline.body_slow":
            self._warm.pop(code).end()
        return answer

    def _asked(self, code: str) -> "_Asked":
        if self._closed:
            raise Unavailable("pipeline.planner_failed", "it is being stopped", remedy="It goes on when it is started.")
        found = self._warm.pop(code, None) or _Asked(self._artifacts_url, self._folder, code, durable=self._durable)
        self._warm[code] = found  # the last used comes last
        while len(self._warm) > WARM:
            self._warm.pop(next(iter(self._warm))).end()
        return found


class _Asked:
    """One process, with one code imported."""

    def __init__(self, artifacts_url: str, folder: Path, code: str, *, durable: bool) -> None:
        ours, theirs = socket.socketpair()
        handle = fcntl.fcntl(theirs, fcntl.F_DUPFD, 10)
        arguments = [str(handle), artifacts_url, "1" if durable else "0", str(folder), code]
        command = [sys.executable, "-P", "-m", "loopline.executors.planning_child", *arguments]
        self._channel = ours
        with theirs:
            self._process = supervised(command, handle)
        os.close(handle)
        if self._receive(START_SECONDS) != b"ready":
            self.end()
            raise Unavailable(
                "pipeline.planner_failed",
                "the process that imports the pipeline's code could not be started",
                remedy="What it printed stands in the log; the code's artifact must be readable.",
            )

    def ask(self, question: Question) -> Answer | None:
        """The answer; None where the process died. One that takes too long has the error "pipeline.body_slow"."""
        with suppress(OSError):  # one that has died is noticed when its answer is read
            send(self._channel, msgspec.json.encode(question))
        if not self._readable(TRACE_SECONDS):
            return Answer(
                error="pipeline.body_slow",
                message=f"the body of {question.function} takes longer than {TRACE_SECONDS:g} s",
                remedy="The body only calls steps; let those do the work.",
            )
        frame = receive(self._channel)
        return None if frame is None else msgspec.json.decode(frame, type=Answer)

    def end(self) -> None:
        """Kill the process."""
        kill_all(self._process.pid)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._channel.close()

    def _receive(self, seconds: float) -> bytes | None:
        return receive(self._channel) if self._readable(seconds) else None

    def _readable(self, seconds: float) -> bool:
        return bool(select.select([self._channel], [], [], seconds)[0])
