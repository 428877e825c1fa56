"""What an executor is: it starts jobs, tells which have finished, and can kill them."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from loopline.pipelines.claims import Key, Room
from loopline.pipelines.graph import Binding
from loopline.pipelines.perform import Performed


class Job(msgspec.Struct, frozen=True):
    """One attempt at a step, with all that running it takes: `code` is the digest of the pinned files, `arguments` are resolved.

    `timeout` is in seconds, `memory` in bytes (0: any).
    """

    execution: str
    number: int
    attempt: int
    name: str
    function: str
    code: str | None
    arguments: dict[str, Binding]
    timeout: float | None = None
    cores: float = 1.0
    memory: int = 0
    hints: dict[str, Any] = {}

    @property
    def key(self) -> Key:
        """What names the attempt."""
        return self.execution, self.number, self.attempt


class Finished(msgspec.Struct, frozen=True):
    """A job that came to its end; `log` is the digest of what it printed, None where that was nothing."""

    key: Key
    performed: Performed
    log: str | None = None


class Lost(msgspec.Struct, frozen=True):
    """A job whose place is gone: a node died, or the process that looked after it. The step has not failed, and is to be run again; `because` is for people."""

    key: Key
    because: str


class Executor(Protocol):
    """Runs jobs somewhere. For one thread. A result is durable before it is told."""

    def room(self) -> Room:
        """What is free for further jobs."""

    def start(self, job: Job) -> None:
        """Start a job that fits into the room."""

    def wait(self, seconds: float) -> Sequence[Finished | Lost]:
        """The jobs that have finished or were lost since; waits up to so many seconds for the first. One that takes too long or too much memory is killed
        and has failed.
        """

    def kill(self, key: Key) -> None:
        """End a job with everything it started; it is not told as finished. What does not run is passed over."""

    def close(self) -> None:
        """Kill what runs, and end."""
