"""The hash chain: each entry's digest covers its content and the digest before it, so that a change shows.

The method is that of Haber and Stornetta, "How to time-stamp a digital document" (1991). A chain shows a change to whoever
holds a later digest; keep the head elsewhere from time to time (`verify(..., anchor=head)`) to see a rewritten tail too.

A digest covers that of the body, so that a body which names a person can be replaced: its digest stays, and a later entry
vouches for what stands in its place (`redact`).
"""

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from loopline.errors import Conflict, Corrupt, InvalidInput, NotFound
from loopline.ledger import store
from loopline.storage.columns import read_time
from loopline.storage.database import Transaction, lock
from loopline.values import canonical_json, utc
from loopline.values import digest as digest_of

GENESIS = "sha256:" + "0" * 64
REDACTED = "entry.redacted"


class Entry(msgspec.Struct, frozen=True):
    """One thing that happened. `seq` counts from 1 in each project; `at` is the domain's time, UTC.

    `digest` covers `prev` (the digest before), `project`, `seq`, `at`, `kind`, `actor`, `subject` and the digest of `body`.
    `measured` holds what no replay could repeat (durations), beside the digest. `redacted` is the digest of the body as it was
    written, where a later entry replaced it.
    """

    project: str
    seq: int
    at: datetime
    kind: str
    actor: str
    subject: str
    body: dict[str, Any]
    key: str
    prev: str
    digest: str
    measured: dict[str, Any] | None = None
    redacted: str | None = None


class Head(msgspec.Struct, frozen=True):
    """The newest entry's number and digest; 0 and `GENESIS` while there is none."""

    seq: int
    digest: str


def append(
    tx: Transaction,
    *,
    project: str,
    at: datetime,
    kind: str,
    actor: str,
    subject: str,
    body: dict[str, Any],
    key: str,
    measured: dict[str, Any] | None = None,
) -> Entry:
    """Add an entry at the end of the project's chain, or return the one that `key` wrote before.

    A retry comes later, so `at` and `measured` may differ from the first time; the first stay. Appends to one project wait
    for each other until their transactions end. Raises `Conflict` "ledger.key_reused" where `key` stands for another kind,
    actor, subject or body, and `InvalidInput` for an empty project, kind or key.
    """
    _check_names(project=project, kind=kind, key=key)
    lock(tx, "ledger", project)
    content = canonical_json(body)
    written = store.by_key(tx, project, key)
    if written is not None:
        return _same(Entry(**written), kind, actor, subject, content)
    before = head(tx, project)
    entry = Entry(
        project=project,
        seq=before.seq + 1,
        at=utc(at),
        kind=kind,
        actor=actor,
        subject=subject,
        body=msgspec.json.decode(content),
        key=key,
        prev=before.digest,
        digest=_digest(before, project, at, (kind, actor, subject), digest_of(content)),
        measured=measured,
    )
    store.insert(tx, msgspec.structs.asdict(entry))
    return entry


def entries(
    tx: Transaction,
    project: str,
    *,
    kind: str | None = None,
    subject: str | None = None,
    after: int = 0,
    before: int | None = None,
    limit: int | None = None,
    newest_first: bool = False,
) -> list[Entry]:
    """The project's entries with `after` < seq < `before`, of this kind and subject, oldest first unless asked otherwise."""
    rows = store.select(
        tx, project, kind=kind, subject=subject, after=after, before=before, limit=limit, newest_first=newest_first
    )
    return [Entry(**row) for row in rows]


def projects(tx: Transaction) -> list[str]:
    """Every project that has a ledger, sorted."""
    return store.projects(tx)


def redact(
    tx: Transaction, project: str, seq: int, body: dict[str, Any], *, at: datetime, actor: str, reason: str
) -> Entry:
    """Put `body` in the place of entry `seq`'s, so that it names nobody any more; gives the entry that vouches for it.

    The chain holds: digests stay as they are. Raises `NotFound` "ledger.not_found".
    """
    lock(tx, "ledger", project)
    found = next(iter(entries(tx, project, after=seq - 1, limit=1)), None)
    if found is None or found.seq != seq:
        raise NotFound("ledger.not_found", f"the ledger of {project!r} has no entry {seq}")
    content = canonical_json(body)
    was = found.redacted or digest_of(canonical_json(found.body))
    store.replace_body(tx, project, seq, msgspec.json.decode(content), was)
    return append(
        tx,
        project=project,
        at=at,
        kind=REDACTED,
        actor=actor,
        subject=str(seq),
        body={"seq": seq, "was": was, "is": digest_of(content), "reason": reason},
        key=f"{REDACTED}:{seq}:{digest_of(content)}",
    )


def head(tx: Transaction, project: str) -> Head:
    """Where the project's chain ends."""
    row = store.last(tx, project)
    return Head(0, GENESIS) if row is None else Head(**row)


def verify(tx: Transaction, project: str, *, anchor: Head | None = None) -> Head:
    """Compute every digest anew and return the head.

    Raises `Corrupt` "ledger.broken" with the first `seq` that was altered, is missing or was moved, or whose body was replaced and
    the last entry that vouches for that says otherwise. With an `anchor`, a head
    noted earlier, a chain that was cut or written anew since then is found as well.
    """
    reached = Head(0, GENESIS)
    replaced: dict[int, tuple[str, str]] = {}
    for row in store.scan(tx, project):
        reached = _follow(project, reached, row)
        _check_anchor(project, reached, anchor)
        _note_replaced(replaced, row)
    if replaced:
        raise _broken(project, min(replaced), "was altered or moved")
    if anchor is not None and reached.seq < anchor.seq:
        raise _broken(project, reached.seq + 1, "is missing")
    return reached


def _follow(project: str, before: Head, row: sa.RowMapping) -> Head:
    seq = before.seq + 1
    if row["seq"] != seq:
        raise _broken(project, seq, "is missing")
    try:
        at = read_time(row["at"])
    except ValueError:
        raise _broken(project, seq, "cannot be read") from None
    names = (row["kind"], row["actor"], row["subject"])
    of_body = row["redacted"] or digest_of(row["body"].encode())
    if (row["prev"], row["digest"]) != (before.digest, _digest(before, project, at, names, of_body)):
        raise _broken(project, seq, "was altered or moved")
    return Head(seq, row["digest"])


def _note_replaced(replaced: dict[int, tuple[str, str]], row: sa.RowMapping) -> None:
    """Bodies that were replaced, as they were and as they are, until the last entry that says so was seen."""
    if row["redacted"]:
        replaced[row["seq"]] = (row["redacted"], digest_of(row["body"].encode()))
    if row["kind"] == REDACTED:
        said = msgspec.json.decode(row["body"])
        if replaced.get(said["seq"]) == (said["was"], said["is"]):
            del replaced[said["seq"]]


def _check_anchor(project: str, reached: Head, anchor: Head | None) -> None:
    if anchor is not None and reached.seq == anchor.seq and reached.digest != anchor.digest:
        raise _broken(project, reached.seq, "is not the one that was noted")


def _digest(before: Head, project: str, at: datetime, names: tuple[str, str, str], of_body: str) -> str:
    """The digest of the entry that follows `before`; `names` are its kind, actor and subject, `of_body` the body's digest."""
    moment = utc(at).isoformat(timespec="microseconds")
    return digest_of(canonical_json([before.digest, project, before.seq + 1, moment, *names, of_body]))


def _same(entry: Entry, kind: str, actor: str, subject: str, content: bytes) -> Entry:
    of_body = entry.redacted or digest_of(canonical_json(entry.body))
    if (entry.kind, entry.actor, entry.subject, of_body) == (kind, actor, subject, digest_of(content)):
        return entry
    raise Conflict(
        "ledger.key_reused",
        f"the key {entry.key!r} already stands for entry {entry.seq} of {entry.project!r}, with other content",
        remedy="Give each event a key of its own; repeat a key only to retry the very same event.",
        key=entry.key,
        seq=entry.seq,
    )


def _check_names(**names: str) -> None:
    for field, name in names.items():
        if not name:
            raise InvalidInput("ledger.name_empty", f"an entry needs a {field}", remedy=f"Give a {field}.")


def _broken(project: str, seq: int, what: str) -> Corrupt:
    return Corrupt(
        "ledger.broken",
        f"entry {seq} of the ledger of {project!r} {what}",
        remedy="Compare with a backup. Entries before this one are as they were written.",
        project=project,
        seq=seq,
    )
