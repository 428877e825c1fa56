"""An `Executor` on a Ray cluster: each job is a task, which looks after one process on some node."""

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import msgspec

from loopline.errors import InvalidInput, Unavailable
from loopline.executors import ray_job
from loopline.executors.executor import Finished, Job, Lost
from loopline.executors.ray_cluster import Node, RayCluster, ray
from loopline.pipelines.claims import ANY_CORES, ANY_MEMORY, Key, Room
from loopline.pipelines.failure import Failure
from loopline.pipelines.perform import Performed
from loopline.storage.artifacts import open_artifacts

_LOOK_SECONDS = 2.0
_GENTLE_SECONDS = 5.0
_UNHEARD_SECONDS = 10.0
_UNHEARD_GROWING_SECONDS = 900.0  # a job may wait as long for its node
_LONGEST_SAID = 300
_PLAIN = re.compile(r"[\w.-]+")  # other texts are operators: !x, in(x, y)


class RayHints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`hints={"ray": ...}` of a step: graphics cards, other resources of nodes by name, and labels a node must have."""

    gpus: float = 0.0
    resources: dict[str, float] = {}
    labels: dict[str, str] = {}


@dataclass
class _Place:
    """A job, since when Ray has it (or until when it may take to end), and the node it told that it is on."""

    job: Job
    since: float
    node: str | None = None


class RayExecutor:
    """Jobs as tasks of a cluster, each with the cores, memory and hints of its step. `cores` and `memory` (bytes) bound what its jobs set aside together;
    by default that is all the nodes have. `grows_to` are the cores that an autoscaling cluster may come to: jobs are given to Ray up to that, and wait there
    for nodes that have what they declare.

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
        grows_to: float | None = None,
    ) -> None:
        self._grows_to = grows_to
        self._cluster, self._artifacts_url, self._durable = cluster, artifacts_url, durable
        self._most = Room(cores or ANY_CORES, memory or ANY_MEMORY)
        self._probe = open_artifacts(artifacts_url, durable=durable).put(b"this store is shared")
        self._task = ray.remote(ray_job.run)
        self._running: dict[Any, _Place] = {}
        self._ending: dict[Any, _Place] = {}
        self._nodes: list[Node] = []
        self._look_at = self._shrunk_at = 0.0

    def room(self) -> Room:
        """What the living nodes have, or may come to, at most the bounds, without what the jobs set aside."""
        nodes, jobs = self._living(), [place.job for place in self._running.values()]
        cores = min(self._most.cores, self._grows_to or sum(node.cores for node in nodes))
        memory = min(self._most.memory, ANY_MEMORY if self._grows_to else sum(node.memory for node in nodes))
        return Room(cores - sum(job.cores for job in jobs), memory - sum(job.memory for job in jobs))

    def start(self, job: Job) -> None:
        """Give the job to Ray. Raises `InvalidInput` "step.ray_hints" and, where the cluster does not grow, `Unavailable` "executor.no_node" if no node will ever do."""
        hints = hints_of(job.hints)
        cores = job.cores if job.cores <= 1 else math.ceil(job.cores)
        if not self._grows_to and not any(_fits(node, job, cores, hints) for node in self._living()):
            raise Unavailable(
                "executor.no_node",
                f"no node of the cluster has what it takes: {cores:g} cores, {job.memory / 1e6:.0f} MB, {hints}",
                remedy="Ask for less in the step, or add such a node. With retries it is tried again later. For a cluster that adds nodes itself set LOOPLINE_RAY_GROWS_TO.",
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
            num_returns="streaming",
        )
        self._running[task.remote(msgspec.json.encode(errand))] = _Place(job, time.monotonic())

    def wait(self, seconds: float) -> list[Finished | Lost]:
        """What has finished, and what was lost with its node."""
        self._end()
        if not self._running:
            time.sleep(seconds)
            return []
        nodes, tasks = self._living(), list(self._running)
        ray.wait(tasks, timeout=seconds)
        ready, _ = ray.wait(tasks, num_returns=len(tasks), timeout=0)
        told = [one for task in ready if (one := self._read(task)) is not None]
        return told + self._gone({node.id for node in nodes})

    def kill(self, key: Key) -> None:
        """Interrupt the task, which kills the step with all it started; one that does not hear is killed itself."""
        for task in [one for one, place in self._running.items() if place.job.key == key]:
            place = self._running.pop(task)
            self._ending[task] = _Place(place.job, time.monotonic() + _GENTLE_SECONDS)
            ray.cancel(task)

    def close(self) -> None:
        """Kill what runs. The connection stays."""
        for place in list(self._running.values()):
            self.kill(place.job.key)
        until = time.monotonic() + _GENTLE_SECONDS
        while self._ending and time.monotonic() < until:
            self._end()
            time.sleep(0.01)
        for task in self._ending:
            ray.cancel(task, force=True)
        self._ending.clear()

    def _end(self) -> None:
        ended, _ = ray.wait(list(self._ending), num_returns=len(self._ending), timeout=0) if self._ending else ([], [])
        for task in ended:
            if not isinstance(_told(task, self._ending[task].job), str):
                del self._ending[task]
        for task in [one for one, place in self._ending.items() if place.since < time.monotonic()]:
            ray.cancel(task, force=True)
            del self._ending[task]

    def _living(self) -> list[Node]:
        if time.monotonic() >= self._look_at:
            before = {node.id for node in self._nodes}
            self._nodes, self._look_at = self._cluster.nodes(), time.monotonic() + _LOOK_SECONDS
            if before - {node.id for node in self._nodes}:
                self._shrunk_at = time.monotonic()
        return self._nodes

    def _read(self, task: Any) -> Finished | Lost | None:
        """What a task told: first where it is, then its end."""
        place = self._running[task]
        told = _told(task, place.job)
        if isinstance(told, str):
            place.node = told
            return None
        del self._running[task]
        return told

    def _gone(self, living: set[str]) -> list[Finished | Lost]:
        """The jobs of nodes that are gone. Ray itself tells the end of a connection, which a node that was cut off leaves open for minutes. A job
        that was on its way when a node went, and has not told since where it is, may have gone with it.
        """
        patience = _UNHEARD_GROWING_SECONDS if self._grows_to else _UNHEARD_SECONDS
        unheard = self._shrunk_at if time.monotonic() > self._shrunk_at + patience else 0.0
        gone: list[Finished | Lost] = []
        for task, place in list(self._running.items()):
            if place.since < unheard if place.node is None else place.node not in living:
                self.kill(place.job.key)
                del self._ending[task]  # nobody is there who could hear
                gone.append(
                    Lost(place.job.key, f"the node {place.node or 'it was to start on'} is gone from the cluster")
                )
        return gone


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


def _told(task: Any, job: Job) -> str | Finished | Lost:
    try:
        content: bytes = ray.get(next(task))
        return msgspec.json.decode(content, type=Finished) if content.startswith(b"{") else content.decode()
    except StopIteration:
        return Lost(job.key, "its task ended without an answer")
    except (ray.exceptions.RayTaskError, ray.exceptions.RuntimeEnvSetupError) as error:
        said = str(error).strip().rpartition("\n")[2]
        failure = Failure.known("dependency", "executor.node_unfit", f"a node could not run it: {said[:_LONGEST_SAID]}")
        return Finished(job.key, Performed(failure=failure))
    except ray.exceptions.RayError as error:
        said = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
        return Lost(job.key, said[:_LONGEST_SAID])
