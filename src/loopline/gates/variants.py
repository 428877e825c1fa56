"""What is deployed beside the champions: canaries, splits and shadows, each from when to when, by whom and why.

Every change writes its ledger entry in the caller's transaction. What serves is not changed by this alone: the manifest is made
of it.
"""

import re
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from loopline.errors import Conflict, InvalidInput, NotFound
from loopline.gates import store
from loopline.gates.canary_terms import CanaryTerms
from loopline.ledger import chain
from loopline.models import registry
from loopline.models.manifest import SlotSpan
from loopline.scoring.record import CHAMPION, FALLBACK, PREVIOUS, RULE
from loopline.scoring.variants import SLOTS, resized, slots_of
from loopline.storage.database import Transaction, lock
from loopline.values import derive_id, utc

CANARY: Final = "canary"
SPLIT: Final = "split"
SHADOW: Final = "shadow"
RUNNING, ENDED = "running", "ended"
PROMOTED, ROLLED_BACK, SUPERSEDED, TAKEN_AWAY = "promoted", "rolled_back", "superseded", "stopped"
STARTED, SHARED, STOPPED = "variant.started", "variant.share", "variant.ended"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,39}")
_TAKEN = {CHAMPION, PREVIOUS, FALLBACK, RULE}

Role = Literal["canary", "split", "shadow"]


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """One variant of an environment's endpoint.

    `against` is the champion it was started beside (0: the declared fallback). `share` is of all keys, `share_at` since when it
    is that. `approval` is the id of the one that was used up for it. `progress` is how far a canary's test is. Times are UTC.
    """

    id: str
    project: str
    model: str
    environment: str
    name: str
    role: Role
    version: int
    against: int
    share: float
    spans: tuple[SlotSpan, ...]
    salt: str
    state: str
    started_at: datetime
    started_by: str
    why: str
    share_at: datetime
    approval: str | None = None
    terms: CanaryTerms | None = None
    progress: dict[str, Any] | None = None
    ended_at: datetime | None = None
    ended_by: str | None = None
    outcome: str | None = None

    @property
    def answers(self) -> bool:
        """Whether callers get its answers."""
        return self.role != SHADOW

    @property
    def subject(self) -> str:
        """What the ledger files it under, e.g. `late_arrival:3`."""
        return f"{self.model}:{self.version}"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A variant to be started. `name` is by default the version's, e.g. `v3`."""

    project: str
    model: str
    environment: str
    version: int
    role: Role
    share: float
    name: str = ""
    terms: CanaryTerms | None = None


def start(
    tx: Transaction,
    wanted: Wanted,
    *,
    against: int,
    actor: str,
    why: str,
    at: datetime,
    key: str,
    approval: str | None = None,
) -> Deployed:
    """Put a version beside the champion `against`. Idempotent by `key`.

    Raises `NotFound` for an unknown version, `InvalidInput` "variants.bad_name" and "variants.bad_share", `Conflict`
    "variants.is_champion", "variants.name_taken", "variants.canary_running" (one canary at a time), "variants.share_taken", "variants.nothing_left".
    """
    lock(tx, "variants", wanted.project, wanted.model)
    made_before = store.one_variant(tx, _id(wanted.project, wanted.model, key))
    if made_before is not None:
        return _read(made_before)
    registry.get_version(tx, wanted.project, wanted.model, wanted.version)
    beside = find(tx, wanted.project, model=wanted.model, environment=wanted.environment, only_running=True)
    name = wanted.name or f"v{wanted.version}"
    _check(wanted, name, against, beside)
    answering = [one for one in beside if one.answers]
    made_id = _id(wanted.project, wanted.model, key)
    answers = wanted.role != SHADOW
    made = Deployed(
        id=made_id,
        project=wanted.project,
        model=wanted.model,
        environment=wanted.environment,
        name=name,
        role=wanted.role,
        version=wanted.version,
        against=against,
        share=slots_of(wanted.share) / SLOTS,
        spans=resized((), slots_of(wanted.share), _taken(answering)) if answers else (),
        # All that answer lie on one line; when none does, keys are shared out anew, or the same ones would try everything first.
        salt=answering[0].salt if answers and answering else made_id,
        state=RUNNING,
        started_at=utc(at),
        started_by=actor,
        why=why,
        share_at=utc(at),
        approval=approval,
        terms=wanted.terms,
    )
    store.insert_variant(tx, _row(made))
    body = {"against": against, "terms": msgspec.to_builtins(wanted.terms), "approval": approval}
    _record(tx, made, STARTED, actor, at, why, key, body)
    return made


def set_share(
    tx: Transaction, found: Deployed, share: float, *, actor: str, why: str, at: datetime, key: str
) -> Deployed:
    """Let the variant have this share from now on; its keys stay its own where it grows. Idempotent by `key`.

    Raises `Conflict` "variants.ended", "variants.share_taken" and "variants.nothing_left", `InvalidInput` "variants.bad_share".
    """
    lock(tx, "variants", found.project, found.model)
    found = _running(tx, found)
    slots = slots_of(share)
    if slots_of(found.share) == slots or _done(tx, found, SHARED, key):
        return found
    beside = find(tx, found.project, model=found.model, environment=found.environment, only_running=True)
    others = [one for one in beside if one.answers and one.id != found.id]
    spans = resized(found.spans, slots, _taken(others)) if found.answers else ()
    changed = msgspec.structs.replace(found, share=slots / SLOTS, spans=spans, share_at=utc(at))
    if found.answers:
        _leave_some([*others, changed])
    store.update_variant(
        tx, found.id, {"share": changed.share, "spans": [list(span) for span in spans], "share_at": utc(at)}
    )
    _record(tx, changed, SHARED, actor, at, why, key, {"before": found.share})
    return changed


def end(
    tx: Transaction,
    found: Deployed,
    outcome: str,
    *,
    actor: str,
    why: str,
    at: datetime,
    key: str,
    evidence: dict[str, Any] | None = None,
    measured: dict[str, Any] | None = None,
) -> Deployed:
    """End the variant: `outcome` is what became of it in a word, e.g. `"promoted"`, `"rolled_back"`, `"stopped"`.

    `measured` is what no replay could repeat. One that has ended with this outcome stays as it is. Raises `Conflict` "variants.ended" where it ended with another.
    """
    lock(tx, "variants", found.project, found.model)
    present = get(tx, found.project, found.id)
    if present.state == ENDED and present.outcome == outcome:
        return present
    found = _running(tx, found)
    values = {"state": ENDED, "ended_at": utc(at), "ended_by": actor, "outcome": outcome}
    store.update_variant(tx, found.id, values)
    body = {"outcome": outcome, "evidence": evidence or {}}
    _record(tx, found, STOPPED, actor, at, why, key, body, measured)
    return msgspec.structs.replace(found, **values)


def end_where_over(
    tx: Transaction, *, project: str, model: str, environment: str, champion: int, actor: str, at: datetime, key: str
) -> list[Deployed]:
    """End what a new champion leaves without a point: variants of its own version, and canaries beside another one."""
    ended = []
    for one in find(tx, project, model=model, environment=environment, only_running=True):
        outcome = PROMOTED if one.version == champion else SUPERSEDED
        if one.version == champion or (one.role == CANARY and one.against != champion):
            why = f"Version {champion} serves."
            ended.append(end(tx, one, outcome, actor=actor, why=why, at=at, key=f"{key}:{one.name}"))
    return ended


def keep_progress(tx: Transaction, found: Deployed, progress: dict[str, Any]) -> None:
    """Keep how far the test is, in the transaction of what follows from it."""
    store.update_variant(tx, found.id, {"progress": progress})


def find(
    tx: Transaction,
    project: str,
    *,
    model: str | None = None,
    environment: str | None = None,
    only_running: bool = False,
) -> list[Deployed]:
    """Variants, oldest first."""
    states = (RUNNING,) if only_running else ()
    rows = store.select_variants(tx, project, model=model, environment=environment, states=states)
    return [_read(row) for row in rows]


def named(tx: Transaction, project: str, model: str, environment: str, name: str) -> Deployed:
    """The running variant of that name. Raises `NotFound` "variants.unknown"."""
    running = find(tx, project, model=model, environment=environment, only_running=True)
    for one in running:
        if one.name == name:
            return one
    raise NotFound(
        "variants.unknown",
        f"no variant {name!r} runs beside the champion of {model}",
        remedy=f"Running are: {', '.join(one.name for one in running) or 'none'}.",
    )


def get(tx: Transaction, project: str, variant_id: str) -> Deployed:
    """Raises `NotFound` "variants.unknown"."""
    row = store.one_variant(tx, variant_id)
    if row is None or row["project"] != project:
        raise NotFound("variants.unknown", f"{project} has no variant {variant_id!r}", remedy="`loopline endpoints`")
    return _read(row)


def _check(wanted: Wanted, name: str, against: int, beside: list[Deployed]) -> None:
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise InvalidInput(
            "variants.bad_name",
            f"{name!r} cannot name a variant",
            remedy="Use up to 40 letters, digits, '_', '.' and '-'; champion, previous and fallback are taken.",
        )
    if wanted.version == against:
        raise Conflict(
            "variants.is_champion",
            f"version {against} of {wanted.model} is the champion of {wanted.environment} already",
        )
    if any(one.name == name for one in beside):
        raise Conflict(
            "variants.name_taken",
            f"a variant {name!r} runs already",
            remedy="Give it another --name, or stop that one.",
        )
    if wanted.role == CANARY and (running := [one for one in beside if one.role == CANARY]):
        raise Conflict(
            "variants.canary_running",
            f"{running[0].name} is a canary of {wanted.model} already",
            remedy="Wait for it, promote it or stop it: `loopline canary`.",
        )
    if wanted.role != SHADOW:
        shares = sum(slots_of(one.share) for one in beside if one.answers) + slots_of(wanted.share)
        _refuse_all(shares)


def _leave_some(answering: list[Deployed]) -> None:
    _refuse_all(sum(slots_of(one.share) for one in answering))


def _refuse_all(slots: int) -> None:
    """Without any row of the champion's there is nothing to compare with."""
    if slots >= SLOTS:
        raise Conflict(
            "variants.nothing_left",
            "nothing would be left to the champion",
            remedy="Give a smaller share, or promote the version.",
        )


def _taken(beside: list[Deployed]) -> list[SlotSpan]:
    return [span for one in beside for span in one.spans]


def _running(tx: Transaction, found: Deployed) -> Deployed:
    present = get(tx, found.project, found.id)
    if present.state != RUNNING:
        raise Conflict(
            "variants.ended",
            f"variant {found.name} of {found.model} has ended: {present.outcome}",
            remedy="Deploy the version again.",
        )
    return present


def _done(tx: Transaction, found: Deployed, kind: str, key: str) -> bool:
    entries = chain.entries(tx, found.project, kind=kind, subject=found.subject)
    return any(entry.key == f"{kind}:{key}" for entry in entries)


def _record(
    tx: Transaction,
    one: Deployed,
    kind: str,
    actor: str,
    at: datetime,
    why: str,
    key: str,
    body: dict[str, Any],
    measured: dict[str, Any] | None = None,
) -> None:
    told = {
        "variant": one.id,
        "name": one.name,
        "role": one.role,
        "model": one.model,
        "version": one.version,
        "environment": one.environment,
        "share": one.share,
        "why": why,
        **body,
    }
    chain.append(
        tx,
        project=one.project,
        at=at,
        kind=kind,
        actor=actor,
        subject=one.subject,
        body=told,
        key=f"{kind}:{key}",
        measured=measured,
    )


def _id(project: str, model: str, key: str) -> str:
    return derive_id("var", 0, project, model, key)


def _row(made: Deployed) -> dict[str, Any]:
    return msgspec.structs.asdict(made) | {
        "spans": [list(span) for span in made.spans],
        "terms": msgspec.to_builtins(made.terms),
    }


def _read(row: dict[str, Any]) -> Deployed:
    terms = None if row["terms"] is None else msgspec.convert(row["terms"], CanaryTerms)
    return Deployed(**row | {"spans": tuple((start, stop) for start, stop in row["spans"]), "terms": terms})
