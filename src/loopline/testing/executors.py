"""What every executor must do. Subclass `ExecutorSuite` and give it a fixture `executor` that keeps results in `artifacts`."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopline.executors.executor import Executor, Finished, Job, Lost
from loopline.pipelines.claims import Key
from loopline.pipelines.codecs import bring, keep
from loopline.pipelines.graph import Binding, Constant
from loopline.storage.artifacts import ArtifactStore

_WITHIN = 60.0
_MB = 10**6


def add(one: int, other: int) -> int:
    """The sum."""
    print(f"adding {one}")  # noqa: T201 - what is printed is what is tested
    print("and", other, file=sys.stderr)  # noqa: T201
    return one + other


def process() -> int:
    """Which process this is."""
    return os.getpid()


def fail(text: str) -> None:
    """Fails with a text."""
    raise ConnectionError(text)


def leave() -> None:
    """Ends the process."""
    os._exit(3)


def exits() -> None:
    """Asks to exit."""
    sys.exit(4)


def sleep_with_child(marker: str) -> None:
    """Starts a process in a session of its own, says which, and waits."""
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)  # noqa: S607 - the shell's own
    Path(marker).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)


def fill(size: int) -> int:
    """Takes so much memory, and keeps it for a while."""
    held = bytearray(size)
    for place in range(0, size, 4096):
        held[place] = 1
    time.sleep(600)
    return len(held)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be buried does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(pids: list[int]) -> bool:
    """Whether these processes end within a moment."""
    deadline = time.monotonic() + _WITHIN
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(is_alive, pids))


class ExecutorSuite:
    """Results, failures, logs; room; the end of jobs that take too long, too much memory, or are cancelled, with all they started."""

    def job(self, function: Any, artifacts: ArtifactStore, number: int = 0, **options: Any) -> Job:
        given = {
            name: options.pop(name) for name in list(options) if name not in {"timeout", "memory", "cores", "hints"}
        }
        arguments: dict[str, Binding] = {name: Constant(keep(value, artifacts)) for name, value in given.items()}
        return Job("ex", number, 1, function.__name__, f"{__name__}:{function.__name__}", None, arguments, **options)

    def ended(self, executor: Executor, count: int = 1) -> dict[Key, Finished]:
        deadline = time.monotonic() + _WITHIN
        found: dict[Key, Finished] = {}
        while len(found) < count and time.monotonic() < deadline:
            ended = executor.wait(1.0)
            assert not any(isinstance(one, Lost) for one in ended), ended
            found.update({one.key: one for one in ended if isinstance(one, Finished)})
        return found

    def one(self, executor: Executor, job: Job) -> Finished:
        executor.start(job)
        return self.ended(executor)[job.key]

    def started(self, marker: Path) -> list[int]:
        deadline = time.monotonic() + _WITHIN
        while not (marker.exists() and len(marker.read_text().split()) == 2) and time.monotonic() < deadline:
            time.sleep(0.01)
        return list(map(int, marker.read_text().split()))

    def test_a_result_and_what_was_printed_come_back(self, executor: Executor, artifacts: ArtifactStore) -> None:
        finished = self.one(executor, self.job(add, artifacts, one=2, other=3))
        assert finished.performed.result is not None
        assert bring(finished.performed.result, int, artifacts) == 5
        assert finished.log is not None
        assert sorted(artifacts.get(finished.log).splitlines()) == [b"adding 2", b"and 3"]

    def test_a_failure_says_its_class_and_what_was_raised(self, executor: Executor, artifacts: ArtifactStore) -> None:
        failure = self.one(executor, self.job(fail, artifacts, text="no line")).performed.failure
        assert failure is not None
        assert (failure.error_class, failure.message) == ("dependency", "ConnectionError: no line")
        assert failure.kinds[0] == "builtins.ConnectionError"

    @pytest.mark.parametrize(("function", "code"), [(leave, "step.process_died"), (exits, "step.failed")])
    def test_the_end_of_a_process_is_a_failure_and_the_next_job_runs(
        self, executor: Executor, artifacts: ArtifactStore, function: Any, code: str
    ) -> None:
        failure = self.one(executor, self.job(function, artifacts)).performed.failure
        assert failure is not None
        assert failure.code == code
        assert self.one(executor, self.job(add, artifacts, 1, one=1, other=1)).performed.failure is None

    def test_a_process_is_used_again(self, executor: Executor, artifacts: ArtifactStore) -> None:
        results = [self.one(executor, self.job(process, artifacts, number)).performed.result for number in range(6)]
        assert len({result and result.text for result in results}) < len(results)

    def test_room_is_what_is_left(self, executor: Executor, artifacts: ArtifactStore, tmp_path: Path) -> None:
        before = executor.room()
        job = self.job(sleep_with_child, artifacts, marker=str(tmp_path / "marker"), cores=0.5, memory=500 * _MB)
        executor.start(job)
        assert executor.room().cores == before.cores - 0.5
        assert executor.room().memory == before.memory - 500 * _MB
        executor.kill(job.key)
        assert executor.room() == before

    def test_a_job_that_takes_too_long_is_killed_with_what_it_started(
        self, executor: Executor, artifacts: ArtifactStore, tmp_path: Path
    ) -> None:
        self.one(executor, self.job(process, artifacts))  # its process has then imported what it needs
        executor.start(self.job(sleep_with_child, artifacts, 1, marker=str(tmp_path / "marker"), timeout=1.0))
        pids = self.started(tmp_path / "marker")
        [finished] = self.ended(executor).values()
        assert finished.performed.failure is not None
        assert finished.performed.failure.error_class == "timeout"
        assert gone(pids)

    def test_a_job_that_is_killed_is_gone_with_what_it_started(
        self, executor: Executor, artifacts: ArtifactStore, tmp_path: Path
    ) -> None:
        job = self.job(sleep_with_child, artifacts, marker=str(tmp_path / "marker"))
        executor.start(job)
        pids = self.started(tmp_path / "marker")
        executor.kill(job.key)
        assert gone(pids)
        assert executor.wait(0.2) == []

    def test_a_job_that_takes_too_much_memory_is_killed(self, executor: Executor, artifacts: ArtifactStore) -> None:
        failure = self.one(executor, self.job(fill, artifacts, size=800 * _MB, memory=400 * _MB)).performed.failure
        assert failure is not None
        assert (failure.error_class, failure.code) == ("capacity", "step.memory_exceeded")

    def test_what_runs_together_ends_together(self, executor: Executor, artifacts: ArtifactStore) -> None:
        jobs = [self.job(add, artifacts, number, one=number, other=1) for number in range(2)]
        for job in jobs:
            executor.start(job)
        results = {key[1]: one.performed.result for key, one in self.ended(executor, 2).items()}
        assert {number: result and msgspec.json.decode(result.text or "") for number, result in results.items()} == {
            0: 1,
            1: 2,
        }
