"""The part of a home that pipelines need, opened from settings; and the ways in for those who hold one."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from loopline.clock import Clock, SystemClock
from loopline.config import Settings
from loopline.pipelines.declare import Pipeline
from loopline.pipelines.engine import Engine
from loopline.pipelines.executions import set_limits, submit
from loopline.pipelines.inline import Inline, check_inline
from loopline.pipelines.limits import Limit, limits_in
from loopline.pipelines.planning import plan
from loopline.storage.artifacts import ArtifactStore, open_artifacts
from loopline.storage.database import Database
from loopline.storage.migrations import upgrade
from loopline.storage.statements import Statements


class PipelineHome:
    """Database, artifacts and the folder of unpacked code. Made on first use; many processes may open it at once."""

    def __init__(
        self, settings: Settings, clock: Clock | None = None, *, seed: int = 0, lease_ms: int | None = None
    ) -> None:
        """Raises `Unavailable` where the database cannot be reached or is unsafe."""
        settings.home.mkdir(parents=True, exist_ok=True)
        self.settings = settings
        self.database = Database.open(settings.database_url, durable=settings.durable)
        upgrade(self.database)
        artifacts = open_artifacts(settings.artifacts_url, durable=settings.durable)
        self.engine = engine_of(settings, artifacts, clock or SystemClock(), seed, lease_ms=lease_ms)
        put_limits(self.database, limits_in(settings.limits))

    @property
    def code_path(self) -> Path:
        """The folder of unpacked code."""
        return self.settings.home / "code"

    def run(self, pipeline: Pipeline, params: Mapping[str, Any], *, fresh: bool = False, key: str | None = None) -> str:
        """Submit an execution and run it in this process until it has ended; its id.

        Raises `InvalidInput` "pipeline.needs_processes" and what planning raises.
        """
        planned = plan(pipeline, params, self.engine.artifacts)
        check_inline(planned)
        with self.database.transaction() as tx:
            execution, _ = submit(tx, self.engine, planned, fresh=fresh, key=key)
        Inline(self.engine, self.database, self.code_path, planned.functions).run(execution)
        return execution

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def engine_of(
    settings: Settings, artifacts: ArtifactStore, clock: Clock, seed: int, *, lease_ms: int | None = None
) -> Engine:
    """The engine of a home that is open already."""
    return Engine(artifacts, clock, seed, lease_ms or round(settings.lease_s * 1000))


def put_limits(database: Database, limits: list[Limit]) -> None:
    """Put the limits of the settings in force."""
    if limits:
        with database.transaction() as tx:
            set_limits(Statements.of(tx), limits)


def run(pipeline: Pipeline, home: str | Path | None = None, **params: Any) -> str:
    """Run a pipeline in this process, in the home of LOOPLINE_HOME or `home`; the execution's id."""
    with closing(PipelineHome(Settings.read(home))) as opened:
        return opened.run(pipeline, params)
