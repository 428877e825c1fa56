"""A pool of warm processes on this machine, bounded by its cores and memory."""

import os
import selectors
import time
from itertools import count
from pathlib import Path

from loopline.errors import Unavailable
from loopline.executors.executor import Finished, Job
from loopline.executors.processes import machine_memory
from loopline.executors.slot import Place, Slot
from loopline.pipelines.claims import Key, Room
from loopline.pipelines.perform import Performed
from loopline.storage.artifacts import open_artifacts

_LOG_BYTES = 4_000_000
_LOOK_SECONDS = 0.05


class LocalExecutor:
    """An `Executor` of processes on this machine. `cores` and `memory` (bytes) are what jobs may set aside together; by default all cores and nine tenths
    of the memory. `folder` is where code is unpacked and logs stand while they grow.

    A step's process is a Python of its own: it imports the pinned code, and stays for further steps of the same code.
    """

    def __init__(
        self,
        artifacts_url: str,
        folder: Path,
        *,
        cores: float | None = None,
        memory: int | None = None,
        durable: bool = True,
    ) -> None:
        """Raises `Unavailable` "executor.no_proc" on a system that does not tell about its processes."""
        if not Path("/proc/self/statm").exists():
            raise Unavailable(
                "executor.no_proc",
                "there is no /proc to watch processes by",
                remedy="Run workers on Linux, or steps inline.",
            )
        logs = folder / "log"
        logs.mkdir(parents=True, exist_ok=True)
        self._place = Place(artifacts_url, folder / "code", logs, durable=durable)
        self._artifacts = open_artifacts(artifacts_url, durable=durable)
        self._cores = cores or float(os.cpu_count() or 1)
        self._memory = memory or machine_memory() * 9 // 10
        self._idle: list[Slot] = []
        self._busy: list[Slot] = []
        self._numbers = count(1)

    def room(self) -> Room:
        """Free cores, and free memory in bytes."""
        jobs = [slot.job for slot in self._busy if slot.job is not None]
        return Room(self._cores - sum(job.cores for job in jobs), self._memory - sum(job.memory for job in jobs))

    def start(self, job: Job) -> None:
        """Give the job to a warm process of its code, or to a new one in place of another."""
        slot = next((one for one in self._idle if one.code == job.code), None)
        if slot is not None:
            self._idle.remove(slot)
        else:
            if len(self._idle) + len(self._busy) >= max(self._cores, 1) and self._idle:
                self._idle.pop(0).end()
            slot = Slot(self._place, next(self._numbers), job.code)
        slot.start(job)
        self._busy.append(slot)

    def wait(self, seconds: float) -> list[Finished]:
        """What has finished; looks after times and memory while it waits."""
        deadline = time.monotonic() + seconds
        while True:
            finished = [done for slot in self._readable(deadline) if (done := self._read(slot)) is not None]
            finished += [
                self._killed(slot, failed) for slot in list(self._busy) if (failed := slot.overdue()) is not None
            ]
            if finished or time.monotonic() >= deadline:
                return finished

    def kill(self, key: Key) -> None:
        """End the job's process with all it started."""
        for slot in [one for one in self._busy if one.job is not None and one.job.key == key]:
            self._busy.remove(slot)
            slot.end()

    def close(self) -> None:
        """End every process."""
        for slot in self._idle + self._busy:
            slot.end()
        self._idle, self._busy = [], []

    def _readable(self, deadline: float) -> list[Slot]:
        left = max(0.0, min(_LOOK_SECONDS, deadline - time.monotonic()))
        if not self._busy:
            time.sleep(left)
            return []
        with selectors.DefaultSelector() as selector:
            for slot in self._busy:
                selector.register(slot.channel, selectors.EVENT_READ, slot)
            return [key.data for key, _ in selector.select(left)]

    def _read(self, slot: Slot) -> Finished | None:
        performed = slot.read()
        if performed is None or slot.job is None:
            return None
        if performed.failure is not None and performed.failure.code == "step.process_died":
            return self._killed(slot, performed)
        finished = Finished(slot.job.key, performed, self._log(slot))
        self._busy.remove(slot)
        slot.job = None
        self._idle.append(slot)
        return finished

    def _killed(self, slot: Slot, performed: Performed) -> Finished:
        if slot.job is None:
            raise AssertionError("only a busy process is looked after")
        finished = Finished(slot.job.key, performed, self._log(slot))
        self._busy.remove(slot)
        slot.end()
        return finished

    def _log(self, slot: Slot) -> str | None:
        printed = slot.printed(_LOG_BYTES)
        return self._artifacts.put(printed) if printed else None
