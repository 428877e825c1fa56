"""The crew that a home's settings ask for: where fits, trials and parts of batches run."""

import atexit
import os
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import cast, get_args

from loopline.app.executor import ExecutorName, executor_of
from loopline.config import Settings
from loopline.errors import InvalidInput
from loopline.executors.crew import Crew
from loopline.executors.executor import Executor

_FOLDER = "crew"
_ON_RAY = 32  # at most; the cluster's own room decides


def crew_of(settings: Settings) -> Crew | None:
    """The crew; None where the settings name no executor. It begins with its first job, and ends with this process.

    Raises `InvalidInput` "executor.unknown" and "executor.artifacts_in_memory".
    """
    if not settings.executor:
        return None
    if settings.executor not in get_args(ExecutorName):
        raise InvalidInput(
            "executor.unknown",
            f"there is no executor {settings.executor!r}",
            remedy=f"LOOPLINE_EXECUTOR and --executor take {' or '.join(get_args(ExecutorName))}; without, work stays in the process.",
        )
    if settings.artifacts_url.startswith("memory:"):
        raise InvalidInput(
            "executor.artifacts_in_memory",
            "other processes do not see artifacts that this one keeps in memory",
            remedy="Set LOOPLINE_ARTIFACTS_URL to a folder or to object storage.",
        )
    name = cast("ExecutorName", settings.executor)
    width = settings.executor_cores or (_ON_RAY if name == "ray" else os.cpu_count() or 1)

    def make(artifacts_url: str) -> AbstractContextManager[Executor]:
        return executor_of(name, settings, artifacts_url, folder=_FOLDER, cores=settings.executor_cores)

    crew = Crew(make, settings.artifacts_url, width=width, durable=settings.durable)
    atexit.register(crew.close)
    return crew


def with_executor(settings: Settings, executor: ExecutorName | None, cores: int | None) -> Settings:
    """The settings, with what a command was told."""
    return replace(settings, executor=executor or settings.executor, executor_cores=cores or settings.executor_cores)


def executor_as(settings: Settings, above: Settings) -> Settings:
    """The settings of a home that is apart from all else, such as a replay's, with the executor of the home above."""
    return replace(
        settings,
        executor=above.executor,
        executor_cores=above.executor_cores,
        ray_address=above.ray_address,
        ray_token_path=above.ray_token_path,
        ray_grows_to=above.ray_grows_to,
    )
