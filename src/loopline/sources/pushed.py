"""Rows that are pushed: kept in the database until they are ingested, known from when they were received."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from loopline.errors import Conflict, InvalidInput, Unavailable
from loopline.sources import store
from loopline.sources.columns import column_of
from loopline.storage.database import Transaction, lock
from loopline.tables.ingest import rehearse
from loopline.tables.schema import UTC_TIME
from loopline.tables.source import SourceSpec
from loopline.tables.tables import Tables
from loopline.values import MICROSECOND, Window, canonical_json, digest, utc

REMEMBERED = timedelta(days=30)
"""How long a push that was ingested is still known when it is repeated."""

MOST_WAITING = 1000
"""So many pushes of a source wait to be ingested; whoever pushes more is to wait, too."""

PushedRow = dict[str, Any]


class Received(msgspec.Struct, frozen=True):
    """What became of a push: `rows` that will be in the table, `quarantined` ones by `reasons`; all known from `received_at` on.

    `repeated` says that it had been received before, and this is what was answered then.
    """

    table: str
    rows: int
    quarantined: int
    reasons: dict[str, int]
    received_at: datetime
    repeated: bool = False


def judge(tables: Tables, spec: SourceSpec, rows: Sequence[PushedRow], at: datetime) -> tuple[int, dict[str, int]]:
    """How many of the rows would be kept if they became known at `at`, and the reasons of the others. Keeps nothing.

    Raises as `ingest` does where no row could be kept.
    """
    window = Window(at - MICROSECOND, at)
    found = rehearse(tables, spec, pushed_frame(spec, rows, [window.end] * len(rows)), window)
    kept = len(rows) - found.bad.height
    return kept, found.reasons()


def receive(
    tx: Transaction,
    spec: SourceSpec,
    rows: Sequence[PushedRow],
    *,
    kept: int,
    reasons: Mapping[str, int],
    key: str | None,
    actor: str,
    at: datetime,
) -> Received:
    """Keep a push until it is ingested; when the transaction is durable, so is the push. Once for each `key`, by default the
    digest of the rows: again, it changes nothing and is answered as before.

    Raises `Conflict` "push.key_reused" where other rows came under the key, `Unavailable` "push.too_many_waiting" where ingestion does not keep up.
    """
    content = digest(canonical_json(rows))
    lock(tx, "push", spec.name)
    before = store.one_push(tx, spec.name, key or content)
    if before is not None:
        return _again(before, content, key)
    if store.count_waiting(tx, spec.name) >= MOST_WAITING:
        raise Unavailable(
            "push.too_many_waiting",
            f"{MOST_WAITING} pushes to {spec.name} wait to be ingested",
            remedy="Nothing was kept. Push again in a minute, under the same key; or more rows at a time. `loopline sources` says whether ingestion fails.",
        )
    received = _moment(tx, spec.name, at)
    answer = Received(spec.name, kept, len(rows) - kept, dict(reasons), received)
    values = {"source": spec.name, "key": key or content, "received_at": received, "content": content, "actor": actor}
    store.add_push(tx, values | {"answer": msgspec.to_builtins(answer), "body": list(rows)})
    return answer


def collect(tx: Transaction, spec: SourceSpec, window: Window) -> pl.DataFrame:
    """All rows that were received in the window. From now on none will be: what comes later is received later, although it had
    begun before.
    """
    lock(tx, "push", spec.name)
    closed = store.closed_until(tx, spec.name)
    if closed is None or closed < window.end:
        store.close_until(tx, spec.name, window.end)
    found = [one for one in store.pushed_between(tx, spec.name, window.start, window.end) if one["body"] is not None]
    rows = [row for one in found for row in one["body"]]
    received = [one["received_at"] for one in found for _ in one["body"]]
    return pushed_frame(spec, rows, received)


def any_pushed(tx: Transaction, source: str, window: Window) -> bool:
    """Whether rows were received in the window."""
    return store.count_pushed(tx, source, window.start, window.end) > 0


def forget(tx: Transaction, source: str, until: datetime) -> None:
    """What was received by `until` is in the table: its rows are kept here no more, and long after that nothing is."""
    store.forget_bodies(tx, source, until)
    store.forget_pushes(tx, source, until - REMEMBERED)


def pushed_frame(spec: SourceSpec, rows: Sequence[PushedRow], received: Sequence[datetime]) -> pl.DataFrame:
    """The rows as a frame: declared columns that no row has are null, the time of knowledge is when they were received."""
    if not rows:
        return pl.DataFrame()
    declared = {**(spec.columns or {}), **({spec.tombstone: pl.Boolean()} if spec.tombstone else {})}
    names = dict.fromkeys([*declared, *(name for row in rows for name in row)])
    columns = [_column(name, rows, declared.get(name)) for name in names if name != spec.known_at]
    return pl.DataFrame([*columns, pl.Series(spec.known_at, received, dtype=UTC_TIME)])


def refuse_unfit(spec: SourceSpec, rows: Sequence[PushedRow]) -> None:
    """Raise `InvalidInput` "push.known_at_given" where rows say when they became known: that is when they are received."""
    if any(spec.known_at in row for row in rows):
        raise InvalidInput(
            "push.known_at_given",
            f"rows hold {spec.known_at!r}, which is when they are received",
            remedy="Leave it out. Say when it happened in the event time.",
        )


def _column(name: str, rows: Sequence[PushedRow], dtype: Any) -> pl.Series:
    values = [row.get(name) for row in rows]
    if dtype is not None and dtype.is_nested():
        with suppress(TypeError, ValueError, pl.exceptions.PolarsError):
            return pl.Series(name, values, dtype=dtype)
    column = column_of(name, values)
    return column.cast(dtype) if dtype is not None and isinstance(column.dtype, pl.Null) else column


def _moment(tx: Transaction, source: str, at: datetime) -> datetime:
    """When a push is received: after every window that was closed and every push before, whatever the clock says."""
    earlier = [store.closed_until(tx, source), store.last_received(tx, source)]
    return max([utc(at), *(moment + MICROSECOND for moment in earlier if moment is not None)])


def _again(before: dict[str, Any], content: str, key: str | None) -> Received:
    if before["content"] != content:
        raise Conflict(
            "push.key_reused",
            f"other rows were pushed under the idempotency key {key!r}",
            remedy="Give each push a key of its own, and repeat a push with the rows that it had.",
        )
    return msgspec.structs.replace(msgspec.convert(before["answer"], Received), repeated=True)
