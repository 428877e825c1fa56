"""One process of the pool: warm between jobs of the same code, killed with all it started when it has to be."""

import fcntl
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from loopline.executors.child import Order
from loopline.executors.executor import Job
from loopline.executors.frames import receive, send
from loopline.executors.processes import descendants, kill_all, resident
from loopline.pipelines.failure import Failure
from loopline.pipelines.perform import Performed

# A shell waits at the pool's end of a pipe: when the pool's process dies, however it dies, it kills the whole group. When the process itself
# dies, what it has started in the group dies with it.
_SUPERVISE = 'exec 4<&0; (read -r _ <&4; kill -9 0) & "$@" </dev/null 4<&-; kill -9 0'
_ABOVE = 10  # the shell's own


def supervised(command: list[str], handle: int) -> "subprocess.Popen[bytes]":
    """Start a process in a group of its own, with that file handle; it dies with this one."""
    return subprocess.Popen(  # noqa: S603 - this interpreter, behind a fixed line of shell
        ["/bin/sh", "-c", _SUPERVISE, "supervise", *command],
        stdin=subprocess.PIPE,
        pass_fds=[handle],
        start_new_session=True,
    )


class Place:
    """Where the processes of a pool find what they need: the artifacts' URL, whether they sync, the folder of unpacked code, that of logs."""

    def __init__(self, artifacts_url: str, folder: Path, logs: Path, *, durable: bool) -> None:
        self.artifacts_url, self.folder, self.logs, self.durable = artifacts_url, folder, logs, durable


class Slot:
    """A process, and the job it is at."""

    def __init__(self, place: Place, number: int, code: str | None) -> None:
        self.code, self._place = code, place
        self.log = place.logs / f"{os.getpid()}-{number}.log"
        self.job: Job | None = None
        self._begun = 0.0
        ours, theirs = socket.socketpair()
        self.channel = ours
        handle = fcntl.fcntl(theirs, fcntl.F_DUPFD, _ABOVE)
        arguments = [str(handle), place.artifacts_url, "1" if place.durable else "0", str(place.folder)]
        command = [sys.executable, "-m", "loopline.executors.child", *arguments]
        with theirs:
            self._process = supervised(command, handle)
        os.close(handle)
        self._greeted = False

    def start(self, job: Job) -> None:
        """Give it a job; the process may still be starting."""
        self.log.unlink(missing_ok=True)
        self.job, self._begun = job, time.monotonic()
        with suppress(OSError):  # a process that has died is noticed when its answer is read
            send(self.channel, msgspec.json.encode(Order(job, str(self.log))))

    def read(self) -> Performed | None:
        """What came of the job; None where the process only says that it has started. Call it when the channel can be read."""
        frame = receive(self.channel)
        if frame is None:
            return Performed(failure=_died(), seconds=time.monotonic() - self._begun)
        if not self._greeted:
            self._greeted = True
            self._begun = time.monotonic()  # what the start of Python took is not the step's
            return None
        return msgspec.json.decode(frame, type=Performed)

    def overdue(self) -> Performed | None:
        """The failure of a job that takes too long, or holds more memory than it may; the caller kills it."""
        if self.job is None:
            return None
        took = time.monotonic() - self._begun
        if self._greeted and self.job.timeout is not None and took > self.job.timeout:
            said = f"it took longer than {self.job.timeout:g} s and was killed"
            return Performed(failure=Failure.late(said), seconds=took)
        if self.job.memory and (held := resident(descendants(self._process.pid)[1:])) > self.job.memory:
            said = f"it held {held / 1e6:.0f} MB of memory, may hold {self.job.memory / 1e6:.0f} MB, and was killed"
            return Performed(failure=Failure.killed("step.memory_exceeded", said, out_of_memory=True), seconds=took)
        return None

    def printed(self, most: int) -> bytes:
        """The end of what the job printed."""
        with suppress(OSError), self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - most))
            return file.read()
        return b""

    def end(self) -> None:
        """Kill the process and all it started."""
        kill_all(self._process.pid)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self.channel.close()
        self.log.unlink(missing_ok=True)


def _died() -> Failure:
    return Failure.killed("step.process_died", "its process died: it crashed, left by os._exit, or was killed")
