"""Signed webhooks, as Standard Webhooks 1.0 has them (standardwebhooks.com), so that senders which speak that need nothing new.

The signature is HMAC-SHA-256, base64, over `id.timestamp.body`, in the header `webhook-signature` as `v1,...`; several stand
side by side, with spaces between. A message is taken within five minutes of its timestamp and once for each id, so nobody who
has listened can send it again. The secret is kept sealed; a new one leaves the earlier one valid for a day.
"""

import base64
import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from loopline.access.sealed import seal, unseal
from loopline.access.secret import Entropy, system_entropy
from loopline.errors import InvalidInput, NotAuthenticated, NotFound
from loopline.ledger import chain
from loopline.pipelines.schedules import signal, store
from loopline.pipelines.schedules.schedule import find
from loopline.pipelines.schedules.triggers import WEBHOOK, OnWebhook
from loopline.storage.database import Transaction
from loopline.values import EPOCH, utc

TOLERANCE = timedelta(minutes=5)
OVERLAP = timedelta(days=1)
PURPOSE = "webhooks"
MOST_BYTES = 1_000_000

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"

_PREFIX = "whsec_"
_LONGEST_ID = 200
_DIGITS = 12
_MOST_SIGNATURES = 10
_NOBODY = b"\x00" * 32


def make_secret(
    tx: Transaction,
    *,
    project: str,
    hook: str,
    sealing: bytes,
    at: datetime,
    actor: str,
    entropy: Entropy = system_entropy,
) -> str:
    """A new secret for the hook, `whsec_` and base64 of 32 bytes: shown now and never again. An earlier one is valid for a day.

    `sealing` is the home's key for this purpose: `pseudonyms.secret(PURPOSE)`.
    """
    raw, before = entropy(32), store.one_hook(tx, project, hook)
    made = {
        "project": project,
        "name": hook,
        "sealed": seal(sealing, raw),
        "earlier": before["sealed"] if before else None,
        "earlier_until": utc(at) + OVERLAP if before else None,
        "changed_at": utc(at),
        "changed_by": actor,
    }
    store.put_hook(tx, made)
    _record(tx, project, hook, "webhook.secret_made", actor, at)
    return _PREFIX + base64.b64encode(raw).decode()


def remove(tx: Transaction, *, project: str, hook: str, at: datetime, actor: str) -> None:
    """Take the hook's secrets away: nothing is let in by it any more. Raises `NotFound`."""
    if not store.remove_hook(tx, project, hook):
        raise NotFound(
            "webhook.unknown",
            f"{project} has no webhook {hook!r} with a secret",
            remedy="`loopline schedules hook` makes one.",
        )
    _record(tx, project, hook, "webhook.removed", actor, at)


def _record(tx: Transaction, project: str, hook: str, kind: str, actor: str, at: datetime) -> None:
    key = f"{kind}:{hook}:{chain.head(tx, project).seq}"
    chain.append(tx, project=project, at=at, kind=kind, actor=actor, subject=hook, body={}, key=key)


def check_secret(secret: str) -> None:
    """Raise `InvalidInput` for what is no secret of a webhook."""
    try:
        found = base64.b64decode(secret.removeprefix(_PREFIX), validate=True) if secret.startswith(_PREFIX) else b""
    except ValueError:
        found = b""
    if not found:
        raise InvalidInput(
            "webhook.bad_secret",
            "this is no secret of a webhook",
            remedy="It is whsec_ and base64, as its receiver shows it.",
        )


def headers(secret: str, *, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers that a sender puts on a message."""
    stamp = str(int(utc(at).timestamp()))
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return {ID: message_id, TIMESTAMP: stamp, SIGNATURE: f"v1,{_signature(key, message_id, stamp, body)}"}


def receive(
    tx: Transaction,
    *,
    project: str,
    hook: str,
    told: Mapping[str, str],
    body: bytes,
    sealing: bytes,
    machine: datetime,
    at: datetime,
) -> bool:
    """Take a message in: its signal is in the caller's transaction. Says whether it is new; sent again it changes nothing.

    `told` are the message's headers, `machine` is what the machine's clock says, `at` the domain's. Raises `NotAuthenticated`: "webhook.bad_signature", also for a hook
    that is not there, and "webhook.out_of_time". Raises `InvalidInput` for a body that a pipeline is to be given: "webhook.body_too_long"
    and "webhook.body_not_text". One that none is given is not kept.
    """
    message_id = told.get(ID, "")
    keys = _keys(store.one_hook(tx, project, hook), sealing, utc(machine))
    fits = signed_by(keys or [_NOBODY], told, body)  # a hook that is not there takes as long
    if not fits or not keys or not 0 < len(message_id) <= _LONGEST_ID:
        raise NotAuthenticated(
            "webhook.bad_signature",
            "the message's signature is not that of this webhook",
            remedy=f"Send {ID}, {TIMESTAMP} and {SIGNATURE} as Standard Webhooks 1.0 says, with the webhook's secret.",
        )
    if abs(utc(machine) - _moment(told.get(TIMESTAMP, ""))) > TOLERANCE:
        raise NotAuthenticated(
            "webhook.out_of_time",
            "the message was signed more than five minutes ago or ahead",
            remedy="Sign it when it is sent, and set the sender's clock.",
        )
    subject = {"hook": hook, "message": message_id}
    if _is_read(tx, project, hook):
        subject["body"] = _text(body)
    return signal.announce(tx, project=project, kind="webhook", key=f"{hook}\x1f{message_id}", subject=subject, at=at)


def _is_read(tx: Transaction, project: str, hook: str) -> bool:
    declared = (one.declared for one in find(tx, project, kinds=(WEBHOOK,)))
    return any(isinstance(one, OnWebhook) and one.hook == hook and one.body for one in declared)


def _text(body: bytes) -> str:
    if len(body) > MOST_BYTES:
        raise InvalidInput(
            "webhook.body_too_long",
            f"the message has {len(body):,} bytes, and a pipeline is given at most {MOST_BYTES:,}",
            remedy="Send an address of the data instead, or split it.",
        )
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(
            "webhook.body_not_text", "the message is no text in UTF-8", remedy="Send JSON or text."
        ) from error


def signed_by(keys: Iterable[bytes], told: Mapping[str, str], body: bytes) -> bool:
    """Whether one of the signatures in the headers is by one of the keys; compared in constant time."""
    expected = [_signature(key, told.get(ID, ""), told.get(TIMESTAMP, ""), body) for key in keys]
    given = told.get(SIGNATURE, "").split(" ")[:_MOST_SIGNATURES]
    fits = [hmac.compare_digest(_bytes(f"v1,{one}"), _bytes(mine)) for one in expected for mine in given]
    return any(fits)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _keys(row: Mapping[str, object] | None, sealing: bytes, at: datetime) -> list[bytes]:
    if row is None:
        return []
    kept = [str(row["sealed"])]
    until = row["earlier_until"]
    if row["earlier"] and isinstance(until, datetime) and at < until:
        kept.append(str(row["earlier"]))
    return [unseal(sealing, one) for one in kept]


def _signature(key: bytes, message_id: str, stamp: str, body: bytes) -> str:
    content = _bytes(f"{message_id}.{stamp}.") + body
    return base64.b64encode(hmac.digest(key, content, "sha256")).decode()


def _moment(stamp: str) -> datetime:
    """When it was signed; long ago where that cannot be read."""
    readable = stamp.isascii() and stamp.isdigit() and len(stamp) <= _DIGITS
    return EPOCH + timedelta(seconds=int(stamp)) if readable else EPOCH
