"""Tracked runs."""

from litestar import get
from litestar.params import FromPath, FromQuery

from loopline.access.permissions import Permission
from loopline.runs import tracking
from loopline.runs.run import Run
from loopline.server.control.inputs import Home, Limit


@get("/runs", permission=Permission.MODELS_READ, sync_to_thread=True)
def list_runs(
    home: Home,
    project: FromQuery[str],
    experiment: FromQuery[str | None] = None,
    parent: FromQuery[str | None] = None,
    order_by: FromQuery[str] = "-started_at",
    limit: Limit = 100,
) -> list[Run]:
    """Runs of a project; `order_by` is `started_at`, `ended_at` or `metrics.NAME`, with `-` before it for descending."""
    with home.database.reading() as tx:
        return tracking.search(tx, project, experiment, parent=parent, order_by=order_by, limit=limit)


@get("/runs/{run_id:str}", permission=Permission.MODELS_READ, sync_to_thread=True)
def read_run(home: Home, run_id: FromPath[str]) -> Run:
    """One run with everything that was logged about it."""
    with home.database.reading() as tx:
        return tracking.get(tx, run_id)


HANDLERS = (list_runs, read_run)
