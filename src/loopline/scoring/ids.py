"""Prediction ids: unique among all that a project's scoring processes ever gave, and the same again for a request sent again."""

import hashlib
import itertools
from collections.abc import Sequence

from loopline.values import derive_id

_COUNTER = 0xFFFFFFFF


class PredictionIds:
    """Gives the ids of one engine's predictions. Safe to share between threads.

    `instance` names the engine's process run among all of the project. An id is `pr_`, 16 hex digits for (project, model, instance)
    and 8 that count: a digest for each would cost more than the rest of a small prediction.
    """

    def __init__(self, project: str, model: str, instance: str) -> None:
        self._path = (project, model)
        self._stem = f"{project}\x1f{model}\x1f{instance}"
        self._count = itertools.count()
        self._rows = itertools.count()
        self._prefix = self._named(0)

    def new(self, count: int) -> list[str]:
        """Ids that were never given before."""
        return [self._next() for _ in range(count)]

    def again(self, keys: Sequence[str], principal: str | None, request_id: str) -> list[str]:
        """Ids that follow from whose request it is and what it is about alone."""
        return [derive_id("pr", 0, *self._path, "request", principal, request_id, key) for key in keys]

    def filled(self, path: Sequence[str]) -> str:
        """A key for a row that came without one."""
        return derive_id("row", 0, *path, next(self._rows))

    def _next(self) -> str:
        number = next(self._count)
        if number <= _COUNTER:
            return f"{self._prefix}{number:08x}"
        return f"{self._named(number >> 32)}{number & _COUNTER:08x}"

    def _named(self, era: int) -> str:
        return "pr_" + hashlib.sha256(f"{self._stem}\x1f{era}".encode()).hexdigest()[:16]
