"""Ids that count: unique among all that a project's scoring processes ever gave, at the cost of an addition."""

import hashlib
import threading
from collections.abc import Sequence

import numpy as np

from loopline.values import derive_id

_COUNTER = 0xFFFFFFFF
_BYTES = 4
_AT_ONCE = 512
_BETWEEN = ","


class CountedIds:
    """Ids of `prefix`, 16 hex digits for `path`, and 8 that count. Safe to share between threads.

    `path` must name one run of one process among all. A digest for each id would cost more than the rest of a small prediction.
    """

    def __init__(self, prefix: str, *path: str) -> None:
        self._prefix = prefix
        self._path = "\x1f".join((prefix, *path))
        self._next = 0
        self._guard = threading.Lock()
        self._first = self._stem(0)
        self._made: list[str] = []
        self._given = 0

    def new(self, count: int) -> list[str]:
        """Ids that were never given before."""
        with self._guard:
            if count > len(self._made) - self._given:
                self._made, self._given = self._made[self._given :] + self._more(max(count, _AT_ONCE)), 0
            start = self._given
            self._given = end = start + count
            return self._made[start:end]

    def _more(self, count: int) -> list[str]:
        start = self._next
        self._next = end = start + count
        if end > _COUNTER:
            return [self._name(number) for number in range(start, end)]
        digits = np.arange(start, end).astype(">u4").tobytes().hex(_BETWEEN, _BYTES)
        first = self._first
        return (first + digits.replace(_BETWEEN, _BETWEEN + first)).split(_BETWEEN)  # no loop in Python over the ids

    def _name(self, number: int) -> str:
        if number <= _COUNTER:
            return f"{self._first}{number:08x}"
        return f"{self._stem(number >> 32)}{number & _COUNTER:08x}"

    def _stem(self, era: int) -> str:
        digest = hashlib.sha256(f"{self._path}\x1f{era}".encode()).hexdigest()
        return f"{self._prefix}_{digest[:16]}"


def repeated_ids(path: Sequence[str], keys: Sequence[str], principal: str | None, request_id: str) -> list[str]:
    """Ids of predictions that follow from whose request it is and what it is about alone: the same when it is sent again."""
    return [derive_id("pr", 0, *path, "request", principal, request_id, key) for key in keys]
