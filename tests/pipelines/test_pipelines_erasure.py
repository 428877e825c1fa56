"""A person who is erased is named in no schedule, tick, signal, failure or window put off."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

import loopline as ll
from loopline.access.erasure import Person, Target, Traces
from loopline.pipelines.healing import erasure as healing_erasure
from loopline.pipelines.healing import postponed, record
from loopline.pipelines.healing.raised import raised
from loopline.pipelines.healing.record import Where
from loopline.pipelines.schedules import erasure as schedules_erasure
from loopline.pipelines.schedules import schedule, signal
from loopline.values import Window

T0 = datetime(2026, 3, 2, tzinfo=UTC)
WHO = "janedoe4711"


def fill(database):
    with database.transaction() as tx:
        when = [ll.cron("@daily", params={"customer": WHO})]
        schedule.declare(tx, project="p", pipeline="sales", schedules=when, at=T0, actor="ann")
        signal.announce(tx, project="p", kind="webhook", key="1", subject={"hook": WHO}, at=T0)
        where = Where(project="p", pipeline="sales", step="read", execution="exec_1", attempt=0)
        record.failed(tx, where, raised(TypeError(f"no plan for {WHO}!"), source=WHO), [], at=T0)
        postponed.postpone(
            tx, ll.skip_window(backfill_after="1d"), project="p", pipeline="sales", params={"customer": WHO},
            window=Window(T0 - timedelta(days=1), T0), execution="exec_1", at=T0, why=WHO,
        )  # fmt: skip


def rows(database):
    tables = (*schedules_erasure.TABLES, *healing_erasure.TABLES)
    with database.reading() as tx:
        return {table.name: str(tx.execute(sa.select(table)).all()) for table in tables}


def test_an_erased_person_is_named_nowhere(database):
    fill(database)
    holding = [name for name, text in rows(database).items() if WHO in text]
    assert sorted(holding) == ["failure", "postponed", "schedule", "signal"]
    target = Target("erasure_1", Person(WHO, (), "person:0123456789ab"), Traces())
    for part in (schedules_erasure, healing_erasure):
        part.eraser(database).sweep(target, dry=False)
    assert [name for name, text in rows(database).items() if WHO in text] == []
    assert "person:0123456789ab" in rows(database)["schedule"]
