"""An `Executor` on a Ray cluster: each job is a task, which looks after one process on some node."""

import math
import re
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import msgspec

from loopline.errors import InvalidInput, Unavailable
from loopline.executors import ray_job
from loopline.executors.executor import Finished, Job, Lost
from loopline.executors.ray_cluster import Node, RayCluster, ray
from loopline.pipelines.claims import ANY_CORES, ANY_MEMORY, Key, Room
from loopline.pipelines.faults import Failure
from loopline.pipelines.perform import Performed
from loopline.storage.artifacts import open_artifacts

_LOOK_SECONDS = 2.0
_GENTLE_SECONDS = 5.0
_LONGEST_SAID = 300
_PLAIN = re.compile(r"[\w.-]+")  # other texts are operators: !x, in(x, y)


class RayHints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`hints={"ray": ...}` of a step: graphics cards, other resources of nodes by name, and labels a node must have."""

    gpus: float = 0.0
    resources: dict[str, float] = {}
    labels: dict[str, str] = {}


class RayExecutor:
    """Jobs as tasks of a cluster, each with the cores, memory and hints of its step. `cores` and `memory` (bytes) bound what its jobs set aside together;
    by default that is all the nodes have.

    A step is in a process of its own, as in the local pool: time, memory, what it prints and its end are looked after there. What becomes of Ray's own
    processes and of nodes is never the step's failure: it is told as `Lost`.
    """

    def __init__(
        self,
        cluster: RayCluster,
        artifacts_url: str,
        *,
        cores: float | None = None,
        memory: int | None = None,
        durable: bool = True,
    ) -> None:
        self._cluster, self._artifacts_url, self._durable = cluster, artifacts_url, durable
        self._most = Room(cores or ANY_CORES, memory or ANY_MEMORY)
        self._probe = open_artifacts(artifacts_url, durable=durable).put(b"this store is shared")
        self._task = ray.remote(ray_job.run)
        self._running: dict[Any, Job] = {}
        self._ending: dict[Any, float] = {}
        self._nodes: list[Node] = []
        self._look_at = 0.0

    def room(self) -> Room:
        """What the living nodes have, at most the bounds, without what the jobs set aside."""
        nodes, jobs = self._living(), self._running.values()
        cores = min(self._most.cores, sum(node.cores for node in nodes))
        memory = min(self._most.memory, sum(node.memory for node in nodes))
        return Room(cores - sum(job.cores for job in jobs), memory - sum(job.memory for job in jobs))

    def start(self, job: Job) -> None:
        """Give the job to Ray. Raises `InvalidInput` "step.ray_hints" and `Unavailable` "executor.no_node", where no node will ever do."""
        hints = hints_of(job.hints)
        cores = job.cores if job.cores <= 1 else math.ceil(job.cores)
        if not any(_fits(node, job, cores, hints) for node in self._living()):
            raise Unavailable(
                "executor.no_node",
                f"no node of the cluster has what it takes: {cores:g} cores, {job.memory / 1e6:.0f} MB, {hints}",
                remedy="Ask for less in the step, or add such a node. With retries it is tried again later.",
            )
        errand = ray_job.Errand(job, self._artifacts_url, self._durable, self._probe, version("loopline"))
        task = self._task.options(
            name=job.name,
            num_cpus=cores,
            num_gpus=hints.gpus,
            memory=job.memory or None,
            resources=hints.resources,
            label_selector=hints.labels or None,
            max_retries=0,
        )
        self._running[task.remote(msgspec.json.encode(errand))] = job

    def wait(self, seconds: float) -> list[Finished | Lost]:
        """What has finished, and what was lost with its node."""
        self._end()
        if not self._running:
            time.sleep(seconds)
            return []
        tasks = list(self._running)
        ray.wait(tasks, timeout=seconds, fetch_local=False)
        ready, _ = ray.wait(tasks, num_returns=len(tasks), timeout=0, fetch_local=False)
        return [_outcome(task, self._running.pop(task)) for task in ready]

    def kill(self, key: Key) -> None:
        """Interrupt the task, which kills the step with all it started; one that does not hear is killed itself."""
        for task in [task for task, job in self._running.items() if job.key == key]:
            del self._running[task]
            self._ending[task] = time.monotonic() + _GENTLE_SECONDS
            ray.cancel(task)

    def close(self) -> None:
        """Kill what runs. The connection stays."""
        for job in list(self._running.values()):
            self.kill(job.key)
        if self._ending:
            ray.wait(list(self._ending), num_returns=len(self._ending), timeout=_GENTLE_SECONDS)
        self._ending = dict.fromkeys(self._ending, 0.0)
        self._end()

    def _end(self) -> None:
        if not self._ending:
            return
        ended, _ = ray.wait(list(self._ending), num_returns=len(self._ending), timeout=0)
        for task in ended:
            del self._ending[task]
        for task in [one for one, until in self._ending.items() if until < time.monotonic()]:
            ray.cancel(task, force=True)
            del self._ending[task]

    def _living(self) -> list[Node]:
        if time.monotonic() >= self._look_at:
            self._nodes, self._look_at = self._cluster.nodes(), time.monotonic() + _LOOK_SECONDS
        return self._nodes


def hints_of(hints: Mapping[str, Any]) -> RayHints:
    """What a step's hints ask of Ray; those for others are passed over. Raises `InvalidInput` "step.ray_hints"."""
    try:
        return msgspec.convert(hints.get("ray", {}), RayHints)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            "step.ray_hints",
            f"these hints for Ray cannot be read: {error}",
            remedy='Give {"ray": {"gpus": NUMBER, "resources": {NAME: NUMBER}, "labels": {NAME: TEXT}}}.',
        ) from error


def _fits(node: Node, job: Job, cores: float, hints: RayHints) -> bool:
    wanted = {"CPU": cores, "memory": job.memory, "GPU": hints.gpus, **hints.resources}
    plain = {name: value for name, value in hints.labels.items() if _PLAIN.fullmatch(value)}
    return all(node.resources.get(name, 0.0) >= amount for name, amount in wanted.items() if amount) and all(
        node.labels.get(name) == value for name, value in plain.items()
    )


def _outcome(task: Any, job: Job) -> Finished | Lost:
    try:
        return msgspec.json.decode(ray.get(task), type=Finished)
    except (ray.exceptions.RayTaskError, ray.exceptions.RuntimeEnvSetupError) as error:
        said = str(error).strip().rpartition("\n")[2]
        failure = Failure("dependency", "executor.node_unfit", f"a node could not run it: {said[:_LONGEST_SAID]}")
        return Finished(job.key, Performed(failure=failure))
    except ray.exceptions.RayError as error:
        said = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
        return Lost(job.key, said[:_LONGEST_SAID])
