"""The queue of what people are asked to label. Every step is in the caller's transaction, with its entry in the ledger.

Reviewers take turns by leases, in the database's time: nobody gets what another holds, and what somebody left lying is free again.
"""

from collections.abc import Iterable
from datetime import datetime
from itertools import count
from typing import Any

import msgspec
import polars as pl

from loopline.errors import Conflict, NotFound
from loopline.labels.review import store
from loopline.labels.review.choosing import CHOSEN
from loopline.labels.review.item import (
    ANSWERED,
    EXPIRED,
    MOST_SKIPS,
    SKIPPED,
    TOLD,
    WAITING,
    ReviewItem,
    read_item,
)
from loopline.labels.review.terms import ReviewTerms
from loopline.ledger import chain
from loopline.storage.database import Transaction, lock, now_ms
from loopline.values import derive_id, utc

_PAGE = 100

COLUMNS = ("_key", "_event_time", "prediction_id", "scored_at", "model_version")


def looked_through(tx: Transaction, project: str, model: str) -> int:
    """Up to which version of its table the model's predictions were looked through; -1 before they ever were."""
    found = store.mark(tx, project, model)
    return -1 if found is None else found


def enter(
    tx: Transaction,
    rows: pl.DataFrame,
    terms: ReviewTerms,
    *,
    project: str,
    model: str,
    keys_of: str,
    after: int,
    until: int,
    at: datetime,
) -> int:
    """Put chosen predictions (`COLUMNS` and `CHOSEN`) into the queue, and note that the table was looked through from version `after`
    to `until`; gives how many are new. Where somebody else did that meanwhile, nothing happens. What would be past its time is left out.
    """
    lock(tx, "review", project, model)
    if looked_through(tx, project, model) != after:
        return 0
    found = []
    for row in rows.select(*COLUMNS, *CHOSEN).iter_rows(named=True):
        expires = row["scored_at"] + terms.lasts
        if expires > utc(at):
            values = {
                "id": derive_id("rev", 0, project, model, row["prediction_id"]),
                "key": row.pop("_key"),
                "at": row.pop("_event_time"),
                "project": project,
                "model": model,
                "keys_of": keys_of,
                "entered_at": utc(at),
                "expires_at": expires,
                "state": WAITING,
                "skipped_by": [],
            }
            found.append({**values, **row})
    entered = store.add_items(tx, found)
    store.put_mark(tx, project, model, until)
    return entered


def claim(
    tx: Transaction, project: str, *, model: str | None, by: str, terms: dict[str, ReviewTerms], at: datetime
) -> ReviewItem | None:
    """The costliest item that nobody holds, for `by` to answer before the lease of its model's `terms` ends; what `by` holds already is given
    again. None where nothing waits. Items that `by` skipped are left to others.
    """
    lock(tx, "reviews", project)
    expire(tx, project, at)
    now = now_ms(tx)
    own = store.held_item(tx, project, model, by=by, now_ms=now, state=WAITING)
    if own is not None:
        return get(tx, project, own["id"])
    row = _free(tx, project, model, by=by, now=now)
    if row is None:
        return None
    lease = terms.get(row["model"], ReviewTerms(0.0)).lease_ms
    store.update_item(tx, row["id"], {"claimed_by": by, "leased_until": now + lease})
    return get(tx, project, row["id"])


def _free(tx: Transaction, project: str, model: str | None, *, by: str, now: int) -> dict[str, Any] | None:
    """The costliest that nobody holds and `by` did not skip."""
    for offset in count(0, _PAGE):
        page = store.free_items(tx, project, model, now_ms=now, state=WAITING, limit=_PAGE, offset=offset)
        found = next((one for one in page if by not in one["skipped_by"]), None)
        if found is not None or len(page) < _PAGE:
            return found
    return None


def answer(
    tx: Transaction,
    project: str,
    item_id: str,
    label: float,
    *,
    by: str,
    at: datetime,
    note: str = "",
    correct: bool = False,
) -> ReviewItem:
    """Give the item its label. The same said again changes nothing; another label takes `correct`, and both are kept.

    Raises `NotFound`, `Conflict` "review.held" where another reviewer has it, "review.answered" where it has another label already,
    "review.ended" where it is past its time or was skipped.
    """
    found = _locked(tx, project, item_id, at)
    if found.label == label:
        return found
    if found.state == ANSWERED and not correct:
        raise _answered(found)
    if found.state not in {WAITING, ANSWERED, TOLD}:
        raise _ended(found)
    _refuse_held(found, by)
    number = len(found.answers) + 1
    # A clock that was set back must not make a correction look older than what it corrects.
    moment = max([utc(at), *(one.at for one in found.answers)])
    values = {"item": found.id, "number": number, "label": label, "by": by, "at": moment, "note": note}
    store.add_answer(tx, values)
    ended = {"state": ANSWERED, "ended_at": found.ended_at or moment, "claimed_by": None, "leased_until": None}
    store.update_item(tx, found.id, ended)
    body = {"prediction": found.prediction_id, "label": label, "reason": found.reason, "propensity": found.propensity}
    body |= {"instead_of": found.label} if found.answers else {}
    _record(tx, found, "review.corrected" if found.answers else "review.answered", by, moment, body, number)
    return get(tx, project, item_id)


def skip(tx: Transaction, project: str, item_id: str, *, by: str, at: datetime, note: str = "") -> ReviewItem:
    """Say that `by` cannot tell: somebody else is asked, and after `MOST_SKIPS` of them nobody. Said again it changes nothing.

    Raises as `answer`.
    """
    found = _locked(tx, project, item_id, at)
    if by in found.skipped_by:
        return found
    if found.state != WAITING:
        raise _answered(found) if found.state == ANSWERED else _ended(found)
    _refuse_held(found, by)
    skipped = [*found.skipped_by, by]
    values: dict[str, Any] = {"skipped_by": skipped, "claimed_by": None, "leased_until": None}
    if len(skipped) >= MOST_SKIPS:
        values |= {"state": SKIPPED, "ended_at": utc(at)}
    store.update_item(tx, found.id, values)
    body = {"prediction": found.prediction_id, "note": note}
    _record(tx, found, "review.skipped", by, at, body, len(skipped))
    return get(tx, project, item_id)


def release(tx: Transaction, project: str, item_id: str, *, by: str, at: datetime) -> ReviewItem:
    """Give a claim back before its lease ends. Raises `NotFound`, and `Conflict` "review.held" where another has it."""
    found = _locked(tx, project, item_id, at)
    _refuse_held(found, by)
    if found.held:
        store.update_item(tx, found.id, {"claimed_by": None, "leased_until": None})
    return get(tx, project, item_id)


def tell(tx: Transaction, project: str, model: str, labels: dict[str, tuple[float, datetime]], at: datetime) -> int:
    """True labels that came meanwhile, by key with when they became known: kept beside what reviewers said, and what still waits for one
    waits no more. Gives how many items changed; what was told first stays.
    """
    lock(tx, "reviews", project)
    changed = 0
    for row in store.untold(tx, project, model, (WAITING, ANSWERED)):
        if row["key"] not in labels:
            continue
        label, known = labels[row["key"]]
        values: dict[str, Any] = {"told": label, "told_at": known}
        if row["state"] == WAITING:
            values |= {"state": TOLD, "ended_at": utc(at), "claimed_by": None, "leased_until": None}
        store.update_item(tx, row["id"], values)
        changed += 1
    return changed


def open_keys(tx: Transaction, project: str, model: str) -> list[str]:
    """The keys of items whose true label may still come."""
    return [row["key"] for row in store.untold(tx, project, model, (WAITING, ANSWERED))]


def expire(tx: Transaction, project: str, at: datetime) -> int:
    """End what waits and is past its time; gives how many."""
    return store.expire(tx, project, at=utc(at), now_ms=now_ms(tx), states=(WAITING, EXPIRED))


def find(
    tx: Transaction,
    project: str,
    *,
    model: str | None = None,
    states: Iterable[str] = (),
    limit: int | None = None,
) -> list[ReviewItem]:
    """Items, the costliest first."""
    now = now_ms(tx)
    rows = store.items(tx, project, model=model, states=states, limit=limit)
    said = store.answers(tx, [row["id"] for row in rows])
    return [read_item(row, said.get(row["id"], []), now) for row in rows]


def get(tx: Transaction, project: str, item_id: str) -> ReviewItem:
    """Raises `NotFound`."""
    row = store.one_item(tx, project, item_id)
    if row is None:
        raise _unknown(item_id)
    return read_item(row, store.answers(tx, [item_id]).get(item_id, []), now_ms(tx))


def project_of(tx: Transaction, item_id: str) -> str:
    """Whose item it is. Raises `NotFound`."""
    found = store.project_of(tx, item_id)
    if found is None:
        raise _unknown(item_id)
    return found


def _unknown(item_id: str) -> NotFound:
    return NotFound(
        "review.unknown", f"there is no review {item_id!r} here", remedy="`loopline review list` lists what there is."
    )


def _locked(tx: Transaction, project: str, item_id: str, at: datetime) -> ReviewItem:
    """As it is now, with nobody else at the queue until the transaction ends."""
    lock(tx, "reviews", project)
    found = get(tx, project, item_id)
    past = found.state == WAITING and not found.held and found.expires_at <= utc(at)
    return msgspec.structs.replace(found, state=EXPIRED) if past else found


def _refuse_held(found: ReviewItem, by: str) -> None:
    if found.held and found.claimed_by != by:
        raise Conflict(
            "review.held",
            f"{found.claimed_by} has review {found.id} for now",
            remedy="Take another with `loopline review next`; what is not answered in time is free again.",
        )


def _answered(found: ReviewItem) -> Conflict:
    last = found.answers[-1]
    return Conflict(
        "review.answered",
        f"{last.by} answered review {found.id} with {last.label:g} at {last.at:%Y-%m-%d %H:%M} UTC",
        remedy="Where that is wrong, answer it again as a correction (--correct); both are kept.",
        label=last.label,
    )


def _ended(found: ReviewItem) -> Conflict:
    return Conflict(
        "review.ended",
        f"review {found.id} is {found.state}: no answer is taken any more",
        remedy="Take another with `loopline review next`. A label can always be pushed: POST .../models/MODEL/labels.",
        state=found.state,
    )


def _record(
    tx: Transaction, found: ReviewItem, kind: str, actor: str, at: datetime, body: dict[str, Any], number: int
) -> None:
    chain.append(
        tx,
        project=found.project,
        at=at,
        kind=kind,
        actor=actor,
        subject=found.id,
        body={"model": found.model, **body},
        key=f"{kind}:{found.id}:{number}",
    )
