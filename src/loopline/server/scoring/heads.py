"""Heads of requests that came before, byte by byte: a client sends nearly the same one with every request, and parsing costs more than
looking it up.
"""

from collections.abc import Mapping
from typing import NamedTuple

MOST = 512
LARGEST = 2048
_END = b"\r\n\r\n"
_NEVER = (b"transfer-encoding", b"expect", b"upgrade")


class Head(NamedTuple):
    """What a head says: `length` is that of the body, `keep` whether the connection stays open."""

    method: str
    target: bytes
    headers: Mapping[bytes, bytes]
    length: int
    keep: bool


class Heads:
    """The heads of whole requests that came in one piece; the oldest go first. Used by one event loop."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        """The head and the body, where `data` is one whole request and its head is known."""
        end = data.find(_END, 0, LARGEST)
        head = self._known.get(data[: end + 4]) if end > 0 else None
        if head is None or len(data) != end + 4 + head.length:
            return None
        return head, data[end + 4 :]

    def keep(self, data: bytes, head: Head) -> None:
        """Remember what a parser found in `data`, if that was one whole request and nothing else."""
        end = data.find(_END, 0, LARGEST)
        if end < 0 or len(data) != end + 4 + head.length or any(name in head.headers for name in _NEVER):
            return
        if len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        self._known[data[: end + 4]] = head
