"""A table of executions that ticks start, and schedulers around it."""

from collections.abc import Callable
from datetime import datetime

import pytest
import sqlalchemy as sa

from loopline.clock import Clock
from loopline.pipelines.schedules import schedule
from loopline.pipelines.schedules.scheduler import Scheduler
from loopline.pipelines.schedules.store import Transaction
from loopline.storage.columns import UtcTime
from loopline.storage.database import Database
from loopline.values import Window

_metadata = sa.MetaData()
started = sa.Table(
    "suite_started",
    _metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("pipeline", sa.String, nullable=False),
    sa.Column("region", sa.String),
    sa.Column("window_start", UtcTime),
    sa.Column("window_end", UtcTime),
)


class HandClock:
    """A clock that shows what it is set to, also back."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment


def start(
    tx: Transaction, pipeline: str, params: dict[str, object], window: Window | None, at: datetime, *, tick: str
) -> str:
    """Begin an execution: a row, whose key would refuse a second one of the same tick."""
    number = tx.execute(sa.select(sa.func.count()).select_from(started)).scalar_one()
    values = {
        "id": f"exec-{tick}",
        "number": number,
        "pipeline": pipeline,
        "region": params.get("region"),
        "window_start": window.start if window else None,
        "window_end": window.end if window else None,
    }
    tx.execute(started.insert().values(values))
    return f"exec-{tick}"


def executions(database: Database) -> list[sa.RowMapping]:
    """What was started, in order."""
    with database.reading() as tx:
        return list(tx.execute(sa.select(started).order_by(started.c.number, started.c.window_end)).mappings())


@pytest.fixture
def home(database: Database) -> Database:
    """A database that executions can be started in."""
    with database.transaction() as tx:
        _metadata.create_all(tx)
        tx.execute(started.delete())
    return database


@pytest.fixture
def scheduler(home: Database) -> Callable[..., Scheduler]:
    """Makes schedulers of project `p`."""

    def make(clock: Clock, **said) -> Scheduler:
        return Scheduler(home, "p", clock=clock, **{"start": start, **said})

    return make


@pytest.fixture
def declare(home: Database) -> Callable[..., list[schedule.Schedule]]:
    """Declares schedules of the pipeline `sales`."""

    def make(*when: schedule.When, at: datetime, pipeline: str = "sales", **said) -> list[schedule.Schedule]:
        with home.transaction() as tx:
            return schedule.declare(tx, project="p", pipeline=pipeline, schedules=when, at=at, actor="ann", **said)

    return make
