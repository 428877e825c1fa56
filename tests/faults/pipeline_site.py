"""A site for faults: a pipeline whose steps say when they ran, workers in processes of their own, and a look at what happened."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from loopline.config import Settings
from loopline.pipelines import reading
from loopline.pipelines.again import resume
from loopline.pipelines.executions import submit
from loopline.pipelines.home import PipelineHome
from loopline.pipelines.load import pipelines_in
from loopline.pipelines.planning import plan

WITHIN = 90.0

PIPELINE = '''
import os
import time
from pathlib import Path

import loopline as ll


def say(name: str) -> None:
    handle = os.open(os.environ["SEEN"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, f"{name} {os.getpid()}\\n".encode())
    os.close(handle)


@ll.step(cores=0.5)
def square(number: int, seconds: float) -> int:
    time.sleep(seconds)
    say(f"square {number}")
    return number * number


@ll.step(cores=0.5)
def total(squares: list[int]) -> int:
    say("total")
    return sum(squares)


@ll.step
def freeze(flag: str) -> int:
    """Says that it has begun, and waits until the flag is there."""
    say("begun")
    while not Path(flag).exists():
        time.sleep(0.02)
    return os.getpid()


@ll.step
def begin() -> bytes:
    say("begin")
    return bytes(5000)


@ll.step
def grow(content: bytes, number: int) -> bytes:
    """Five thousand bytes that tell all numbers so far: they are an artifact, not a part of the row."""
    say(f"grow {number}")
    return content[1:] + bytes([number])


@ll.pipeline
def chains(count: int, length: int):
    """So many chains of steps, each in need of the one before."""
    ends = []
    for number in range(count):
        value = square(number, 0.0)
        for _ in range(length - 1):
            value = square(value, 0.0)
        ends.append(value)
    return ends


@ll.pipeline
def grown(count: int):
    content = begin()
    for number in range(count):
        content = grow(content, number)
    return content


@ll.pipeline
def squares(count: int, seconds: float):
    return total(square.each(list(range(count)), seconds=seconds))


@ll.pipeline
def frozen(flag: str):
    return freeze(flag)
'''


class Site:
    """A home with one pipeline submitted, and its workers."""

    def __init__(
        self,
        folder: Path,
        *,
        lease: float,
        name: str = "pipelines_of_faults",
        home: Path | None = None,
        database: str | None = None,
    ) -> None:
        """`home` stands elsewhere than in the folder, where a fault is to meet it; `database` is a URL."""
        self.folder, self.seen = folder, folder / "seen"
        (folder / f"{name}.py").write_text(PIPELINE)
        home = home or folder / "home"
        place = {} if database is None else {"LOOPLINE_DATABASE_URL": database}
        self.environment = {
            **os.environ, **place, "LOOPLINE_HOME": str(home), "LOOPLINE_LEASE_S": str(lease), "LOOPLINE_DURABLE": "0",
            "SEEN": str(self.seen),
        }  # fmt: skip
        self.home = PipelineHome(Settings.read(home, self.environment))
        self.pipelines = {one.name: one for one in pipelines_in(folder / f"{name}.py")}
        self.workers: list[subprocess.Popen[bytes]] = []

    def submit(self, pipeline: str, **params: object) -> str:
        """Submit an execution; its id."""
        planned = plan(self.pipelines[pipeline], params, self.home.engine.artifacts)
        with self.home.database.transaction() as tx:
            return submit(tx, self.home.engine, planned)[0]

    def submit_fresh(self, pipeline: str, **params: object) -> str:
        """Submit an execution that takes nothing from the cache; its id."""
        planned = plan(self.pipelines[pipeline], params, self.home.engine.artifacts)
        with self.home.database.transaction() as tx:
            return submit(tx, self.home.engine, planned, fresh=True)[0]

    def resume(self, execution: str) -> None:
        """Let it go on after a failure."""
        with self.home.database.transaction() as tx:
            resume(tx, self.home.engine, execution)

    def worker(self, *options: str, prefix: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start a worker, behind the command `prefix` if there is one."""
        program = "from loopline.cli.main import main; main()"
        command = [*prefix, sys.executable, "-c", program, "worker", "--cores", "1", *options]
        with (self.folder / f"worker{len(self.workers)}.log").open("wb") as log:
            started = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)
        self.workers.append(started)
        return started

    def lines(self) -> list[str]:
        """What the steps said so far, without the processes."""
        return [line.rpartition(" ")[0] for line in self.seen.read_text().splitlines()] if self.seen.exists() else []

    def state(self, execution: str) -> str:
        """The state of an execution."""
        with self.home.database.reading() as tx:
            return reading.get_execution(tx, execution).state

    def events(self, execution: str) -> list[reading.EventRow]:
        """All that happened."""
        with self.home.database.reading() as tx:
            return list(reading.events_of(tx, execution))

    def result(self, execution: str) -> object:
        """What the pipeline returned."""
        with self.home.database.reading() as tx:
            return reading.result_of(tx, execution, self.home.engine.artifacts)

    def until(self, holds) -> None:
        """Wait until it holds."""
        deadline = time.monotonic() + WITHIN
        while not holds():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.02)

    def logs(self) -> str:
        """What the workers printed."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("worker*.log")))

    def close(self) -> None:
        """Kill what is left of the workers."""
        for worker in self.workers:
            if worker.poll() is None:
                os.kill(worker.pid, signal.SIGCONT)
                os.kill(worker.pid, signal.SIGKILL)
            worker.wait()
        with closing(self.home):
            pass


def check_once(events: list[reading.EventRow]) -> None:
    """Every step came to one committed result, and none was started again after it; each attempt is one worker's."""
    done: set[str | None] = set()
    for one in events:
        if one.kind in {"started", "done"} and one.step is not None:
            assert one.step not in done, f"{one.kind} of {one.step} after it was done"
        if one.kind == "done":
            done.add(one.step)
    claims = Counter((one.step, one.attempt) for one in events if one.kind == "started")
    assert set(claims.values()) == {1}
