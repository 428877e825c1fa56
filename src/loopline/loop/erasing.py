"""Erase a person: find what is theirs, take it out of every part, search for what is left, and give a receipt.

What is found is noted, sealed, before anything is taken out: an erasure that is killed anywhere and begun again still knows what
was the person's. Nobody writes to the home meanwhile.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec

from loopline.access.erasure import Eraser, Person, Removed, Target, Traces
from loopline.access.needles import distinctive
from loopline.access.sealed import seal, unseal
from loopline.clock import SystemClock
from loopline.errors import InvalidInput, NotFound
from loopline.ledger import chain
from loopline.loop import store
from loopline.loop.access_changes import LEDGER
from loopline.loop.erasers import Erasing
from loopline.loop.receipt import Kept, Receipt, Searched, TrainedOn, read_receipt, signed
from loopline.loop.resources import Resources
from loopline.loop.trained_on import trained_on
from loopline.tables.telling import subjects
from loopline.values import derive_id, micros

PATIENCE_SECONDS = 600.0
Progress = Callable[[str], None]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to erase: `value` is the id as it stands in subject columns (`column`: only in those so named). Tables in `keep` stay
    as they are, for the reason given. `allow_return`: take the person's rows again when they come.
    """

    value: str
    column: str | None = None
    reason: str
    actor: str
    keep: dict[str, str] = {}
    allow_return: bool = False


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure would remove, and which model versions were trained on it."""

    pseudonym: str
    columns: tuple[str, ...]
    removes: list[Removed]
    kept: list[Kept]
    models: list[TrainedOn]
    blocked: bool


class _Notes(msgspec.Struct):
    """What has to survive a death: sealed in the database while an erasure is under way."""

    traces: Traces
    found: list[Removed]
    models: list[TrainedOn]


@dataclass(frozen=True)
class _Begun:
    id: str
    at: datetime
    notes: _Notes | None = None
    earlier: Sequence[Mapping[str, Any]] = ()


def plan_erasure(resources: Resources, request: Request) -> Planned:
    """What `erase` would do. Changes nothing. Raises as `erase`."""
    person = _person(resources, request)
    erasers = resources.erasing().erasers
    traces = _traces(erasers, person)
    target = Target("", person, traces, request.keep, request.allow_return)
    return Planned(
        pseudonym=person.pseudonym,
        columns=person.columns,
        removes=_sweep(erasers, target, dry=True),
        kept=_kept(request),
        models=trained_on(resources, traces.keys),
        blocked=resources.tables.blocked.holds(person.value),
    )


def erase(
    resources: Resources, request: Request, *, progress: Progress = lambda _: None, patience: float = PATIENCE_SECONDS
) -> Receipt:
    """Take a person out of the home; gives the signed receipt's content. Killed anywhere, asked again it does the rest.

    A person who was erased and of whom nothing has come since: the receipt of then. Raises `InvalidInput` "erasure.no_subject" and
    "erasure.unknown_table", `NotFound` "erasure.unknown_person" where nothing is held of such a person, `Unavailable` where
    writers do not end within `patience` seconds.
    """
    person = _person(resources, request)
    with resources.activity.alone(patience=patience):
        erasing = resources.erasing()
        progress("looking for what is theirs")
        begun = _begin(resources, erasing, request, person)
        if begun.notes is None:
            return _again(resources, request, person, begun)
        held = frozenset(one.place for one in begun.notes.found)
        target = Target(begun.id, person, begun.notes.traces, request.keep, request.allow_return, held)
        done: list[Removed] = []
        for eraser in erasing.erasers:
            progress(eraser.name)
            done += eraser.sweep(target, dry=False)
        told = resources.database.forget()
        progress("searching every file")
        searched = erasing.search(target)
        receipt = _receipt(begun, request, target, done, searched, told)
        _conclude(resources, receipt, target, begun.notes)
        resources.database.forget()  # the sealed notes too
        return receipt


def receipts(resources: Resources) -> list[Receipt]:
    """The receipts of this home, oldest first."""
    with resources.database.reading() as tx:
        digests = [row["receipt"] for row in store.erasures(tx) if row["receipt"]]
    return [read_receipt(resources.artifacts.get(digest), resources.key.public) for digest in digests]


def envelope_of(resources: Resources, erasure: str) -> bytes:
    """The signed envelope of an erasure's receipt. Raises `NotFound` "erasure.not_found"."""
    with resources.database.reading() as tx:
        row = store.one_erasure(tx, erasure)
    if row is None or not row["receipt"]:
        raise NotFound("erasure.not_found", f"there is no receipt {erasure!r}", remedy="List the receipts.")
    return resources.artifacts.get(row["receipt"])


def _person(resources: Resources, request: Request) -> Person:
    columns = _columns(resources, request)
    tables = resources.tables.names()
    unknown = [name for name in request.keep if name not in tables]
    if unknown:
        raise InvalidInput(
            "erasure.unknown_table",
            f"there is no table {', '.join(unknown)} to keep",
            remedy="`loopline tables` lists them.",
        )
    return Person(request.value, columns, resources.pseudonyms.of(request.value))


def _columns(resources: Resources, request: Request) -> tuple[str, ...]:
    """Subject columns; where no source declares any, those that hold the id, or the one that was named."""
    known = set(subjects(resources.tables).values())
    columns = {name for name in known if request.column in {None, name}}
    if not known and request.value:
        columns = {request.column} if request.column else set(resources.erasing().columns(request.value))
    if not request.value or (request.column and not columns):
        raise InvalidInput(
            "erasure.no_subject",
            f"no table says whose its rows are in a column {request.column!r}" if request.column else "whom?",
            remedy=f"Subject columns here are: {', '.join(sorted(known)) or 'none'}. Sources declare them: "
            'subject="customer_id".',
        )
    return tuple(sorted(columns))


def _begin(resources: Resources, erasing: Erasing, request: Request, person: Person) -> _Begun:
    """Note, sealed, what is the person's, before anything is taken out; no notes where nothing is there to erase."""
    code, now = resources.pseudonyms.code(person.value), SystemClock().now()
    with resources.database.reading() as tx:
        earlier = store.erasures(tx, code)
    unfinished = next((row for row in earlier if row["notes"]), None)
    notes = _read_notes(resources, unfinished["notes"]) if unfinished else _Notes(Traces(), [], [])
    traces = _traces(erasing.erasers, person) | notes.traces
    target = Target("", person, traces, request.keep, request.allow_return)
    found = _merged(notes.found, _sweep(erasing.erasers, target, dry=True))
    if erasing.settle():
        traces = _traces(erasing.erasers, person) | traces
        found = _merged(found, _sweep(erasing.erasers, replace(target, traces=traces), dry=True))
    begun = _Begun(
        unfinished["id"] if unfinished else derive_id("erasure", 0, code, micros(now)),
        unfinished["began_at"] if unfinished else now,
        earlier=earlier,
    )
    if not found and not unfinished:
        return begun
    models = notes.models or trained_on(resources, traces.keys)
    whole = _Notes(traces, found, models)
    row = {"id": begun.id, "code": code, "pseudonym": person.pseudonym, "began_at": begun.at, "complete": False}
    with resources.database.transaction() as tx:
        store.put_erasure(tx, row | {"notes": _sealed(resources, whole), "ended_at": None, "receipt": None})
    return _Begun(begun.id, begun.at, whole, earlier)


def _again(resources: Resources, request: Request, person: Person, begun: _Begun) -> Receipt:
    """Nothing is there: the receipt of then, if there was one."""
    done = [row for row in begun.earlier if row["receipt"]]
    if not done:
        raise NotFound(
            "erasure.unknown_person",
            f"nothing is held of anyone called so in {', '.join(person.columns)}",
            remedy="Check the id: it is compared as a whole, as text.",
        )
    if request.allow_return and resources.tables.blocked.holds(person.value):
        _let_return(resources, request, person)
    return read_receipt(resources.artifacts.get(done[-1]["receipt"]), resources.key.public)


def _let_return(resources: Resources, request: Request, person: Person) -> None:
    resources.tables.blocked.lift(person.value, {})
    now = SystemClock().now()
    with resources.database.transaction() as tx:
        chain.append(
            tx,
            project=LEDGER,
            at=now,
            kind="subject.may_return",
            actor=request.actor,
            subject=person.pseudonym,
            body={"reason": Target("", person).needles.hidden(request.reason)},
            key=derive_id("return", 0, person.pseudonym, micros(now)),
        )


def _receipt(
    begun: _Begun, request: Request, target: Target, done: list[Removed], searched: Searched, told: str
) -> Receipt:
    notes = begun.notes or _Notes(Traces(), [], [])
    limits = [
        f"database: {told}",
        "disks keep deleted bytes until they are written over; backups and copies outside of this home were not searched",
    ]
    if notes.traces.shared:
        limits.append(
            f"{notes.traces.shared} values of personal columns are those of others too and tell nobody from another: where they "
            "stand in other rows they were kept"
        )
    if notes.models:
        limits.append(
            "model versions keep what they learnt from the rows, as parameters; names in their categories were replaced and exact "
            "bounds rounded"
        )
    if not distinctive(request.value):
        limits.append("the id is too short to be searched for byte by byte: it was looked for in the columns of tables")
    return Receipt(
        erasure=begun.id,
        pseudonym=target.person.pseudonym,
        columns=target.person.columns,
        actor=request.actor,
        reason=target.needles.hidden(request.reason),
        began_at=begun.at,
        ended_at=SystemClock().now(),
        removed=_merged(notes.found, done),
        kept=_kept(request, target),
        models=notes.models,
        searched=searched,
        limits=limits,
        blocked=not request.allow_return,
        complete=not searched.left,
    )


def _conclude(resources: Resources, receipt: Receipt, target: Target, notes: _Notes) -> None:
    """Receipt, ledger entry and, where nothing is left to do, the end of the notes, in one transaction; the signed bytes are
    durable before.
    """
    digest = resources.artifacts.put(signed(receipt, resources.key))
    counts = {f"{one.place}: {one.what}": one.count for one in receipt.removed}
    with resources.database.transaction() as tx:
        chain.append(
            tx,
            project=LEDGER,
            at=receipt.ended_at,
            kind="subject.erased",
            actor=receipt.actor,
            subject=receipt.pseudonym,
            body={"erasure": receipt.erasure, "receipt": digest, "removed": counts, "complete": receipt.complete},
            key=f"{receipt.erasure}:{micros(receipt.ended_at)}",
        )
        store.put_erasure(
            tx,
            {
                "id": receipt.erasure,
                "code": resources.pseudonyms.code(target.person.value),
                "pseudonym": receipt.pseudonym,
                "began_at": receipt.began_at,
                "ended_at": receipt.ended_at,
                "notes": None if receipt.complete else _sealed(resources, notes),
                "receipt": digest,
                "complete": receipt.complete,
            },
        )


def _traces(erasers: Sequence[Eraser], person: Person) -> Traces:
    found = Traces()
    for eraser in erasers:
        found = found | eraser.trace(person)
    return found


def _sweep(erasers: Sequence[Eraser], target: Target, *, dry: bool) -> list[Removed]:
    return _merged([], [told for eraser in erasers for told in eraser.sweep(target, dry=dry)])


def _merged(before: Collection[Removed], after: Collection[Removed]) -> list[Removed]:
    """One line for each place and thing: what was found first, and the version or digest it came to."""
    lines = {(one.place, one.what): one for one in before}
    for one in after:
        known = lines.get((one.place, one.what))
        if known is not None:
            count, first = max(known.count, one.count), known.before if known.before is not None else one.before
            one = Removed(one.place, one.what, count, first, one.after, one.note)  # noqa: PLW2901 - the same line, more of it
        lines[one.place, one.what] = one
    return list(lines.values())


def _kept(request: Request, target: Target | None = None) -> list[Kept]:
    hide = target.needles.hidden if target else str
    return [Kept(name, hide(because)) for name, because in request.keep.items()]


def _sealed(resources: Resources, notes: _Notes) -> str:
    return seal(resources.pseudonyms.secret("erasure"), msgspec.json.encode(notes))


def _read_notes(resources: Resources, text: str) -> _Notes:
    return msgspec.json.decode(unseal(resources.pseudonyms.secret("erasure"), text), type=_Notes)
