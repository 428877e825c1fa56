"""Trainings that several policies of a replay ask for at one moment are made once: all that they rest on is the same."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

Made = TypeVar("Made")


@dataclass(frozen=True)
class Shared(Generic[Made]):
    """What was made, how many seconds that took, and whether somebody else made it."""

    made: Made
    seconds: float
    elsewhere: bool


@dataclass
class Trainings(Generic[Made]):
    """Keeps what was trained at the newest moment, by a key that names everything it rests on. For threads."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _kept: dict[str, "Future[Shared[Made]]"] = field(default_factory=dict)
    _at: datetime | None = None

    def once(self, at: datetime, key: str, make: Callable[[], Made]) -> Shared[Made]:
        """What `make` gives for `key` at `at`, made by whoever comes first. Raises what it raises, to all who asked."""
        with self._lock:
            if self._at != at:
                self._at, self._kept = at, {}
            waiting = self._kept.get(key)
            mine: Future[Shared[Made]] = Future()
            if waiting is None:
                self._kept[key] = mine
        if waiting is not None:
            found = waiting.result()
            return Shared(found.made, found.seconds, elsewhere=True)
        began = time.perf_counter()
        try:
            made = Shared(make(), time.perf_counter() - began, elsewhere=False)
        except BaseException as error:
            with self._lock:
                self._kept.pop(key, None)  # whoever asks later tries for itself
            mine.set_exception(error)
            raise
        mine.set_result(made)
        return made
