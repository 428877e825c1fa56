"""The program of a pool's process: `python -m loopline.executors.child SOCKET ARTIFACTS DURABLE CODE`. It runs one job after the other.

What a step prints, and what its own processes print, goes into the file that comes with the job.
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from loopline.executors.executor import Job
from loopline.executors.frames import receive, send
from loopline.pipelines.code import function_named, import_from, unpack
from loopline.pipelines.failure import Failure
from loopline.pipelines.perform import Performed, perform
from loopline.storage.artifacts import ArtifactStore, open_artifacts


class Order(msgspec.Struct, frozen=True):
    """A job, and where what it prints goes."""

    job: Job
    log: str


def main() -> None:
    """Run jobs until the other end of the socket is closed."""
    handle, artifacts_url, durable, folder = sys.argv[1:]
    artifacts = open_artifacts(artifacts_url, durable=durable == "1")
    with socket.socket(fileno=int(handle)) as channel:
        send(channel, b"ready")
        while (frame := receive(channel)) is not None:
            order = msgspec.json.decode(frame, type=Order)
            with printing_into(Path(order.log)):
                performed = run(order.job, artifacts, Path(folder))
            send(channel, msgspec.json.encode(performed))


def run(job: Job, artifacts: ArtifactStore, folder: Path) -> Performed:
    """Run a job with the code that was pinned for it."""
    try:
        if job.code is not None:
            import_from(unpack(job.code, artifacts, folder))
        function = function_named(job.function)
    except Exception as error:  # whatever the user's module does when it is imported
        return Performed(failure=Failure.of(error))
    return perform(function, job.arguments, artifacts)


@contextmanager
def printing_into(log: Path) -> Iterator[None]:
    """Send standard output and error into a file."""
    kept = os.dup(1), os.dup(2)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.dup2(file, 1)
        os.dup2(file, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for one in (*kept, file):
            os.close(one)


if __name__ == "__main__":
    main()
