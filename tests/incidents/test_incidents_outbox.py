"""The outbox: told at least once under one id, after quiet hours as a digest, ever later where nobody takes it."""

from datetime import UTC, datetime, timedelta

from loopline.incidents import outbox
from loopline.incidents.people import quiet_hours
from loopline.storage.database import Database

T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)
NIGHT, MORNING = datetime(2026, 1, 1, 23, tzinfo=UTC), datetime(2026, 1, 2, 7, tzinfo=UTC)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
QUIET = [quiet_hours("22:00", "07:00")]


def put(database, key, *, to="risk", severity="info", at=T0, quiet=()):
    with database.transaction() as tx:
        return outbox.put(
            tx,
            project="p",
            key=key,
            to=to,
            severity=severity,
            message={"event": "e", "text": f"text of {key}"},
            at=at,
            quiet=quiet,
        )


def due(database, at):
    with database.reading() as tx:
        return outbox.due(tx, "p", at)


def note(database, one, *, sent, whole, at):
    with database.transaction() as tx:
        taken = outbox.take(tx, one, at)
        assert taken is not None
        return outbox.note(tx, taken, sent=sent, whole=whole, at=at)


def test_of_many_senders_one_takes_it_and_another_when_that_one_died(database: Database):
    put(database, "a")
    [found] = due(database, T0)
    with database.transaction() as tx:
        taken = outbox.take(tx, found, T0)
        assert (taken.attempts, outbox.take(tx, found, T0)) == (1, None)
    assert due(database, T0 + 29 * SECOND) == []
    [again] = due(database, T0 + 30 * SECOND)
    assert (again.id, again.attempts) == (found.id, 1)
    note(database, again, sent=["log"], whole=True, at=T0 + 30 * SECOND)
    with database.reading() as tx:
        assert outbox.projects(tx) == []


def test_projects_that_have_something_to_tell_are_known(database: Database):
    with database.transaction() as tx:
        for project in ("q", "p", "q"):
            outbox.put(tx, project=project, key=project, to="", severity="info", message={}, at=T0)
        assert outbox.projects(tx) == ["p", "q"]


def test_one_key_is_told_once(database: Database):
    first, again = put(database, "a"), put(database, "a", at=T0 + HOUR)
    assert first.id == again.id
    [found] = due(database, T0 + HOUR)
    assert found.content == {
        "event": "e",
        "text": "text of a",
        "id": first.id,
        "project": "p",
        "to": "risk",
        "severity": "info",
    }
    note(database, found, sent=["log"], whole=True, at=T0)
    put(database, "a", at=T0 + 2 * HOUR)
    assert due(database, T0 + 9 * HOUR) == []


def test_what_nobody_took_is_due_again_ever_later_and_given_up_after_days(database: Database):
    put(database, "a")
    now, waits = T0, []
    while True:
        [found] = due(database, now)
        before, given_up = now, note(database, found, sent=["log"], whole=False, at=now)
        if given_up:
            break
        assert due(database, now) == []
        with database.reading() as tx:
            [left] = outbox.waiting(tx, "p")
        assert left.sent == ("log",)
        now = left.due_at
        waits.append(now - before)
    assert waits[:4] == [30 * SECOND, 60 * SECOND, 120 * SECOND, 240 * SECOND]
    assert set(waits[7:]) == {HOUR}
    assert timedelta(days=3) <= now - T0 < timedelta(days=3) + HOUR
    with database.reading() as tx:
        assert outbox.waiting(tx, "p") == []


def test_quiet_hours_hold_what_is_not_critical(database: Database):
    put(database, "page", severity="critical", at=NIGHT, quiet=QUIET)
    put(database, "warn", severity="warning", at=NIGHT, quiet=QUIET)
    put(database, "day", severity="info", at=T0, quiet=QUIET)
    assert [one.message["text"] for one in due(database, NIGHT)] == ["text of day", "text of page"]
    assert len(due(database, MORNING - SECOND)) == 2
    assert len(due(database, MORNING)) == 3


def test_what_waited_is_one_digest_for_each_addressee(database: Database):
    ids = [put(database, f"n{number}", at=NIGHT + number * HOUR, quiet=QUIET).id for number in range(3)]
    worst = put(database, "w", severity="warning", at=NIGHT + HOUR, quiet=QUIET).id
    alone = put(database, "alone", to="ops", at=NIGHT, quiet=QUIET)
    put(database, "awake", at=MORNING, quiet=QUIET)
    for _ in range(2):  # made again by whoever died after making it, it is the same
        with database.transaction() as tx:
            outbox.fold(tx, "p", MORNING)
    found = {one.message["event"]: one for one in due(database, MORNING) if one.message["event"] == "digest"}
    digest = found["digest"]
    assert {part["id"] for part in digest.message["notifications"]} == {*ids, worst}
    assert (digest.severity, digest.to, digest.due_at) == ("warning", "risk", MORNING)
    others = [one.id for one in due(database, MORNING) if one.id != digest.id]
    assert len(others) == 2
    assert alone.id in others


def test_before_the_hours_end_nothing_is_folded(database: Database):
    for number in range(2):
        put(database, f"n{number}", at=NIGHT, quiet=QUIET)
    with database.transaction() as tx:
        assert outbox.fold(tx, "p", MORNING - SECOND) == []
    assert len(due(database, MORNING)) == 2
