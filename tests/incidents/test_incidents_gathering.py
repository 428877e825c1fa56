"""The same error many times is one message with a count; quiet hours hold it, and what is critical breaks through."""

from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from loopline.incidents import outbox, store
from loopline.incidents.gathering import gather
from loopline.incidents.people import quiet_hours
from loopline.incidents.step_failure import tell_failure
from loopline.pipelines.healing.classes import classify
from loopline.pipelines.healing.decide import next_remedy
from loopline.pipelines.healing.raised import raised
from loopline.pipelines.healing.record import Where
from loopline.pipelines.healing.remedies import page, skip_window, wait, when

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
QUIET = [quiet_hours("22:00", "07:00", zone="Europe/Berlin")]


def put(database, key, at, *, group="g", severity="warning", quiet=(), to="ops"):
    with database.transaction() as tx:
        return gather(
            tx, project="p", group=group, key=str(key), to=to, severity=severity,
            message={"event": "step.failed", "text": f"failure {key}"}, at=at, quiet=quiet,
        )  # fmt: skip


def deliver(database, at):
    """Tell what is due; gives texts with their counts."""
    with database.reading() as tx:
        due = outbox.due(tx, "p", at)
    for one in due:
        with database.transaction() as tx:
            outbox.note(tx, outbox.take(tx, one, at), sent=["log"], whole=True, at=at)
    return [(one.message["text"], one.message["count"]) for one in due]


def test_the_first_is_told_at_once_and_the_rest_of_the_hour_as_one(database):
    put(database, 0, T0 + 5 * MINUTE)
    assert deliver(database, T0 + 5 * MINUTE) == [("failure 0", 1)]
    for number in range(1, 21):
        put(database, number, T0 + (5 + number) * MINUTE)
    assert deliver(database, T0 + 59 * MINUTE) == []
    assert deliver(database, T0 + 60 * MINUTE) == [("failure 20 (20 times since 2026-01-01 12:06 UTC)", 20)]
    put(database, 21, T0 + 61 * MINUTE)  # it goes on: no message of its own
    assert deliver(database, T0 + 61 * MINUTE) == []
    assert deliver(database, T0 + 120 * MINUTE) == [("failure 21", 1)]
    put(database, 22, T0 + 300 * MINUTE)  # after a rest it is news again
    assert deliver(database, T0 + 300 * MINUTE) == [("failure 22", 1)]


def test_told_twice_of_the_same_it_is_counted_once(database):
    for _ in range(3):
        put(database, 0, T0)
        put(database, 1, T0 + MINUTE)
    with database.reading() as tx:
        assert sum(one.message["count"] for one in outbox.waiting(tx, "p")) <= 3


def test_groups_addressees_and_severities_are_apart(database):
    put(database, 0, T0)
    put(database, 1, T0, group="h")
    put(database, 2, T0, to="risk")
    put(database, 3, T0, severity="critical")
    assert len(deliver(database, T0)) == 4


def test_quiet_hours_hold_it_and_what_is_critical_breaks_through(database):
    night = datetime(2026, 1, 1, 23, tzinfo=UTC)  # midnight in Berlin
    for number in range(30):
        put(database, number, night + number * 10 * MINUTE, quiet=QUIET)
    put(database, "c", night + MINUTE, severity="critical", quiet=QUIET)
    assert deliver(database, night + MINUTE) == [("failure c", 1)]
    assert deliver(database, datetime(2026, 1, 2, 5, 59, tzinfo=UTC)) == []
    assert deliver(database, datetime(2026, 1, 2, 6, tzinfo=UTC)) == [
        ("failure 29 (30 times since 2026-01-01 23:00 UTC)", 30)
    ]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(waits=st.lists(st.integers(0, 100), min_size=1, max_size=25))
def test_every_failure_is_counted_and_messages_are_few(database, waits):
    with database.transaction() as tx:
        tx.execute(delete(store.notification))
    now, counted, messages = T0, 0, 0
    for number, minutes in enumerate(waits):
        for _ in range(minutes + 1):  # as the scheduler does: what is due is told
            told = deliver(database, now) if minutes < 3 or now.minute % 20 == 0 else []
            counted, messages = counted + sum(count for _, count in told), messages + len(told)
            now += MINUTE
        put(database, number, now)
    told = deliver(database, now + timedelta(hours=3))
    assert counted + sum(count for _, count in told) == len(waits)
    assert messages + len(told) <= 2 * ((now - T0) / timedelta(hours=1)) + 3


def tell(database, heal, attempt, *, history=()):
    where = Where(project="p", pipeline="sales", step="read", execution="exec_1", attempt=attempt)
    error = classify(raised(PermissionError("no access"), source="crm"))
    then = next_remedy(heal, error, history, now=T0)
    with database.transaction() as tx:
        return tell_failure(tx, where, error, then, owner="sales team", at=T0, quiet=QUIET)


def test_a_step_that_is_over_is_told_to_its_owner_or_whom_the_page_names(database):
    assert tell(database, [when("access", wait("2h"))], 0) is None
    failed = tell(database, [], 1)
    paged = tell(database, [when("access", page("ann"))], 2)
    skipped = tell(database, [when("access", skip_window)], 3)
    assert [(one.to, one.severity, one.message["event"]) for one in (failed, paged, skipped)] == [
        ("sales team", "warning", "step.failed"),
        ("ann", "critical", "step.failed"),
        ("sales team", "warning", "step.skipped"),
    ]
    assert paged.message["text"] == "sales.read: access error PermissionError: ann is paged."
