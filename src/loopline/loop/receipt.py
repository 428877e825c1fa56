"""The receipt of an erasure: what was removed from where, what was kept and why, what was searched, signed."""

from datetime import datetime
from typing import Any

import msgspec

from loopline.access.erasure import Removed
from loopline.models.signing import PublicKeys, SigningKey, sign, verify
from loopline.values import canonical_json

PAYLOAD_TYPE = "application/vnd.loopline.erasure-receipt.v1+json"


class Kept(msgspec.Struct, frozen=True):
    """A table that was left as it is, and why."""

    table: str
    because: str


class TrainedOn(msgspec.Struct, frozen=True):
    """A model version whose training rows may have held the person: its parameters were fitted on them."""

    project: str
    model: str
    version: int
    as_of: str
    serves: bool
    advice: str


class Left(msgspec.Struct, frozen=True):
    """A file in which the person was still found: how many times."""

    path: str
    count: int


class Searched(msgspec.Struct, frozen=True):
    """The search after the erasure: how many files and bytes were read, for how many texts, and what was `left`."""

    files: int = 0
    bytes: int = 0
    texts: int = 0
    left: list[Left] = []


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure did. It calls the person by the pseudonym only. Times are UTC, of the machine.

    `complete` says that nothing of the person was left where the search looked. `blocked`: rows of the person that come later are
    dropped. `limits` are what could not be done from here.
    """

    erasure: str
    pseudonym: str
    columns: tuple[str, ...]
    actor: str
    reason: str
    began_at: datetime
    ended_at: datetime
    removed: list[Removed]
    kept: list[Kept]
    models: list[TrainedOn]
    searched: Searched
    limits: list[str]
    blocked: bool
    complete: bool


def signed(receipt: Receipt, key: SigningKey) -> bytes:
    """The receipt in a signed envelope (DSSE)."""
    return sign(key, PAYLOAD_TYPE, canonical_json(receipt))


def read_receipt(envelope: bytes, keys: PublicKeys) -> Receipt:
    """The receipt in an envelope. Raises `Corrupt` where the signature does not hold."""
    return msgspec.json.decode(verify(keys, PAYLOAD_TYPE, envelope), type=Receipt)


def as_json(receipt: Receipt) -> dict[str, Any]:
    """The receipt as plain values."""
    plain: dict[str, Any] = msgspec.to_builtins(receipt)
    return plain
