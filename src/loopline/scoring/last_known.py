"""What was last looked up of each entity: what a scoring process answers with while the feature store does not."""

from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

MOST_ENTITIES = 10_000


class Known(NamedTuple):
    """An entity's values as of `at`, and when they were noted, monotonic and in seconds."""

    at: datetime
    values: Sequence[Any]
    noted: float


class LastKnown:
    """The newest values of the `most` entities that were looked up last, for `seconds` after that. Used by one thread."""

    def __init__(self, seconds: float, *, most: int = MOST_ENTITIES) -> None:
        self._seconds = seconds
        self._most = most
        self._known: dict[Hashable, Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    def note(self, entity: Hashable, at: datetime, values: Sequence[Any], now: float) -> None:
        """Keep the values of an entity, unless those that are kept are of a later time; forget what is too old, or too many."""
        before = self._known.pop(entity, None)
        later = before is not None and before.at > at and before.noted >= now - self._seconds
        self._known[entity] = before if before is not None and later else Known(at, values, now)
        while len(self._known) > self._most or self._oldest().noted < now - self._seconds:
            del self._known[next(iter(self._known))]

    def find(self, entity: Hashable, at: datetime, now: float) -> tuple[Sequence[Any], int] | None:
        """An entity's values and their age in whole seconds at the time `at`; None where nothing young enough is kept."""
        known = self._known.get(entity)
        if known is None or known.noted < now - self._seconds:
            return None
        age = (at - known.at).total_seconds()
        return None if age > self._seconds else (known.values, max(0, int(age)))

    def _oldest(self) -> Known:
        return self._known[next(iter(self._known))]
