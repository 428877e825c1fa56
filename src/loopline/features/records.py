"""What the online store holds of a view, and under which keys.

| record | of each | holds | read by |
|---|---|---|---|
| steps | entity | its features as step functions of time (`steps.py`) | requests |
| filed | entity | the row versions they are made of | updates |
| chain | row key | when its versions became known, and the entity that each is filed under | updates |
| meta | view | how far the view is | both |
"""

import hashlib

import msgspec

from loopline.features.definitions import View, views_digest

_SHORT = 200


class Filed(msgspec.Struct, array_like=True, gc=False):
    """A row version under its entity; times in microseconds, `values` in the order of `payload_columns`."""

    key: str
    known: int
    event: int
    until: int
    values: list[float | str | None]


class Link(msgspec.Struct, array_like=True, gc=False):
    """A version in the chain of its key; `entity` is None for tombstones and for rows of nobody."""

    known: int
    event: int
    entity: str | None


class Meta(msgspec.Struct, array_like=True, frozen=True):
    """The greatest known time filed, the moment from which answers are exact, and the horizon of the last sweep."""

    known: int
    horizon: int
    swept: int


class Addresses:
    """The store's keys of one view. They contain the view's digest: a changed view starts anew."""

    def __init__(self, view: View) -> None:
        self.all = b"features/" + bytes.fromhex(views_digest([view]).removeprefix("sha256:"))[:16]
        self.all_filed = self.all + b"f"
        self.all_chains = self.all + b"c"
        self.meta = self.all + b"m"
        self.nobody = self.all + b"0"
        self._steps = self.all + b"s"

    def steps(self, entity: str) -> bytes:
        """Where the steps of an entity are."""
        return self._steps + _bounded(entity)

    def filed(self, entity: str) -> bytes:
        """Where the row versions of an entity are."""
        return self.all_filed + _bounded(entity)

    def chain(self, key: str) -> bytes:
        """Where the chain of a row key is."""
        return self.all_chains + _bounded(key)


def _bounded(name: str) -> bytes:
    """A name as it is, or its digest where it is too long for the stores' keys (LMDB's end at 511 bytes)."""
    raw = b"=" + name.encode()
    return raw if len(raw) <= _SHORT else b"#" + hashlib.sha256(raw).digest()


class Entity(msgspec.Struct, array_like=True):
    """The row versions filed under one entity, sorted by event time, known time and key."""

    name: str
    versions: list[Filed]


encode = msgspec.msgpack.Encoder().encode
decode_entity = msgspec.msgpack.Decoder(Entity).decode
decode_chain = msgspec.msgpack.Decoder(list[Link]).decode
decode_meta = msgspec.msgpack.Decoder(Meta).decode
