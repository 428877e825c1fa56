"""Healing as it happens: a failure and what is tried against it are written together, and how that ended later."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from loopline.pipelines.healing import store
from loopline.pipelines.healing.classes import Classified, ErrorClass, classify
from loopline.pipelines.healing.decide import Kind, Next, Tried, next_remedy
from loopline.pipelines.healing.raised import Raised
from loopline.pipelines.healing.remedies import Retry, When
from loopline.storage.database import Transaction
from loopline.values import derive_id, utc

Outcome = Literal["open", "helped", "failed", "ended"]


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """Which attempt of which step."""

    project: str
    pipeline: str
    step: str
    execution: str
    attempt: int


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that failed, when (UTC), and what kind of error it met; see `Classified`."""

    id: str
    project: str
    pipeline: str
    step: str
    execution: str
    attempt: int
    at: datetime
    class_: ErrorClass = msgspec.field(name="class")
    why: str
    name: str
    told: str
    shape: str
    fingerprint: str
    code: str
    source: str


class Remedied(msgspec.Struct, frozen=True, kw_only=True):
    """A remedy that was tried against a failure, and its outcome: open, helped, failed, or ended (nothing more was tried).

    `detail` tells what it cost: `stale_seconds` of a result that was taken over, `rows` that were set aside.
    """

    id: str
    project: str
    pipeline: str
    step: str
    execution: str
    attempt: int
    failure: str
    kind: Kind
    rule: int
    place: int
    number: int
    sentence: str
    at: datetime
    outcome: Outcome
    ended_at: datetime | None
    detail: dict[str, Any]


def failed(
    tx: Transaction,
    where: Where,
    error: Raised,
    heal: Sequence[When],
    *,
    at: datetime,
    seed: int = 0,
    retries: Retry | None = None,
    own: Mapping[str, ErrorClass] | None = None,
    counted: int | None = None,
) -> tuple[Classified, Next]:
    """Note that an attempt failed, and what is tried next, in the caller's transaction: that of the attempt's end.

    Whatever was being tried for this step has failed then. Told twice of one attempt it says the same as the first time, as
    long as `heal` and the rest are the same. `own` is a table of the user's, as `classify` takes. Of
    the remedies that were tried only the last `counted` count, if given: earlier ones were before a person let it go on.
    """
    found = classify(error, own)
    failure_id = derive_id("fail", 0, where.execution, where.step, where.attempt)
    before = [row for row in store.remedies_of(tx, where.execution, where.step) if row["attempt"] < where.attempt]
    for row in before:
        if row["outcome"] == "open":
            store.change_remedy(tx, row["id"], {"outcome": "failed", "ended_at": utc(at)})
    history = [Tried(kind=row["kind"], rule=row["rule"], place=row["place"], at=row["at"]) for row in before]
    if counted is not None:
        history = history[len(history) - min(counted, len(history)) :]
    path = (where.project, where.pipeline, where.execution, where.step)
    then = next_remedy(heal, found, history, now=utc(at), seed=seed, path=path, retries=retries)
    store.add_failure(tx, _failure_row(failure_id, where, found, at))
    if then.kind != "fail":
        store.add_remedy(tx, _remedy_row(failure_id, where, then, at))
    return found, then


def ended(
    tx: Transaction,
    *,
    execution: str,
    step: str,
    helped: bool,
    at: datetime,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Note how the remedy under way for a step ended, if there is one: `helped` where the step is done.

    One that failed before the step was tried again (there is no good result to take over) is told by this too, and then
    `failed` is called for the attempt. `detail` is as `Remedied` has it.
    """
    for row in store.remedies_of(tx, execution, step):
        if row["outcome"] == "open":
            outcome = "helped" if helped else "failed"
            told = {"outcome": outcome, "ended_at": utc(at), "detail": {**row["detail"], **(detail or {})}}
            store.change_remedy(tx, row["id"], told)


def history(tx: Transaction, execution: str, step: str) -> list[Remedied]:
    """What was tried for a step of an execution, oldest first."""
    return [_remedied(row) for row in store.remedies_of(tx, execution, step)]


def failures(
    tx: Transaction, project: str | None, *, start: datetime, end: datetime, limit: int = 100_000
) -> list[Failure]:
    """The newest failures in (start, end] of a project, or of all, oldest first."""
    return [msgspec.convert(row, Failure) for row in store.failures(tx, project, start, end, limit)]


def remedies(
    tx: Transaction, project: str | None, *, start: datetime, end: datetime, limit: int = 100_000
) -> list[Remedied]:
    """The newest remedies tried in (start, end] of a project, or of all, oldest first."""
    return [_remedied(row) for row in store.remedies(tx, project, start, end, limit)]


def _failure_row(failure_id: str, where: Where, found: Classified, at: datetime) -> dict[str, Any]:
    told = msgspec.structs.asdict(found)
    told["class"] = told.pop("class_")
    return {"id": failure_id, **msgspec.structs.asdict(where), "at": utc(at), **told}


def _remedy_row(failure_id: str, where: Where, then: Next, at: datetime) -> dict[str, Any]:
    return {
        "id": derive_id("remedy", 0, where.execution, where.step, where.attempt),
        **msgspec.structs.asdict(where),
        "failure": failure_id,
        "kind": then.kind,
        "rule": then.rule,
        "place": then.place,
        "number": then.number,
        "sentence": then.sentence,
        "at": utc(at),
        "outcome": "ended" if then.ends else "open",
        "ended_at": utc(at) if then.ends else None,
        "detail": {},
    }


def _remedied(row: dict[str, Any]) -> Remedied:
    return Remedied(**row)
