"""What a Ray task does on its node: it has a pool of one process there, and looks after the step in it.

The step has a process of its own below Ray's, so that its end is told apart from the end of Ray's process or of the node.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import msgspec

from loopline.errors import AccessDenied, Unavailable
from loopline.executors.executor import Finished, Job
from loopline.executors.local import LocalExecutor
from loopline.executors.ray_cluster import ray
from loopline.pipelines.failure import Failure
from loopline.pipelines.perform import Performed
from loopline.storage.artifacts import open_artifacts

_LOOK_SECONDS = 1.0
# What Ray sets for each task anew; a process that was started under other values is of no use.
_PER_TASK = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")


class Errand(msgspec.Struct, frozen=True):
    """A job, and what its node has to have: the artifacts, where `probe` is kept, and the same version of Loopline."""

    job: Job
    artifacts_url: str
    durable: bool
    probe: str
    version: str


class _Pool:
    """The pool of this Ray process, made for the first errand and kept for those like it."""

    made_for: tuple[object, ...] | None = None
    executor: LocalExecutor | None = None

    def for_errand(self, errand: Errand) -> LocalExecutor:
        wanted = (errand.artifacts_url, errand.durable, errand.probe, *map(os.environ.get, _PER_TASK))
        if self.executor is None or self.made_for != wanted:
            self.close()
            _check(errand)
            self.executor = LocalExecutor(errand.artifacts_url, _folder(), cores=1, durable=errand.durable)
            self.made_for = wanted
        return self.executor

    def close(self) -> None:
        if self.executor is not None:
            self.executor.close()
        self.executor = self.made_for = None


_pool = _Pool()


def run(order: bytes) -> Iterator[bytes]:
    """Run an `Errand` (JSON): first says on which node, when it has ended the `Finished` (JSON). Ray cancels it by an interrupt: then the step is killed
    with all it started.
    """
    yield ray.get_runtime_context().get_node_id().encode()
    yield _perform(msgspec.json.decode(order, type=Errand))


def _perform(errand: Errand) -> bytes:
    try:
        executor = _pool.for_errand(errand)
        executor.start(errand.job)
        while not (finished := executor.wait(_LOOK_SECONDS)):
            pass
    except Exception as error:  # this node is not fit for it: no process, no artifacts, another version
        _pool.close()
        return msgspec.json.encode(Finished(errand.job.key, Performed(failure=Failure.of(error))))
    except BaseException:
        _pool.close()
        raise
    return msgspec.json.encode(finished[0])


def _check(errand: Errand) -> None:
    if os.environ.get("RAY_AUTH_MODE") != "token":
        raise AccessDenied(
            "executor.ray_open",
            "this node of the Ray cluster lets in whoever reaches it",
            remedy="Start every node with RAY_AUTH_MODE=token.",
        )
    if errand.version != version("loopline"):
        raise Unavailable(
            "executor.version_differs",
            f"this node has Loopline {version('loopline')}, the worker has {errand.version}",
            remedy="Install the same version on all nodes.",
        )
    if not open_artifacts(errand.artifacts_url).exists(errand.probe):
        raise Unavailable(
            "executor.artifacts_not_shared",
            "this node does not see the worker's artifacts",
            remedy="Keep artifacts in object storage or in a folder that all nodes share: LOOPLINE_ARTIFACTS_URL.",
        )


def _folder() -> Path:
    """A folder of this node that is this user's alone: code is imported from it."""
    folder = Path(tempfile.gettempdir()) / f"loopline-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    others = stat.S_IMODE(found.st_mode) & (stat.S_IRWXG | stat.S_IRWXO)
    if found.st_uid != os.getuid() or others or not stat.S_ISDIR(found.st_mode):
        raise AccessDenied(
            "executor.folder_open",
            f"{folder} is not a folder of this user alone",
            remedy="Remove it, or give the nodes a TMPDIR that nobody else writes to.",
        )
    return folder
