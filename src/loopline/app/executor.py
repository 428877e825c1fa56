"""The executor that settings or an option name."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from loopline.config import Settings
from loopline.executors.executor import Executor
from loopline.executors.local import LocalExecutor

ExecutorName = Literal["local", "ray"]


@contextmanager
def executor_of(
    name: ExecutorName,
    settings: Settings,
    artifacts_url: str,
    *,
    folder: str = "executor",
    cores: float | None = None,
    memory: int | None = None,
) -> Iterator[Executor]:
    """The executor `name`, whose jobs find what they need in `artifacts_url`; for `ray` also the connection to the cluster of the settings.

    `folder`, below the home, is for local ones: no two executors of a process share one. Raises what connecting raises.
    """
    if name == "local":
        place = settings.home / folder
        yield LocalExecutor(artifacts_url, place, cores=cores, memory=memory, durable=settings.durable)
        return
    from loopline.executors.ray import RayExecutor  # noqa: PLC0415 - an extra, which takes seconds to load
    from loopline.executors.ray_cluster import RayCluster  # noqa: PLC0415 - as above

    token, address = Path(settings.ray_token_path), settings.ray_address
    with closing(RayCluster(token, address, cores=cores, memory=memory or None)) as cluster:
        yield RayExecutor(
            cluster,
            artifacts_url,
            cores=cores,
            memory=memory,
            durable=settings.durable,
            grows_to=settings.ray_grows_to,
        )
