"""A circuit breaker: what fails again and again, or is too slow, is left alone for a while and then tried by single calls.

A pure state machine: it is told the time, monotonic and in seconds, and what became of each call. (M. Nygard: Release It!, 2nd ed., 5.2,
with back-off and jitter.)
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Literal

from loopline.models.breaker_terms import BreakerTerms
from loopline.values import derive_seed

State = Literal["closed", "half_open", "open"]

_SEEDS = 2**32
_MILLISECONDS = 1000.0


class Breaker:
    """Says whether a call may be made. Safe to share between threads.

    `name` says what it guards: the waits follow from it and `seed`. `changed` is told of each new state.
    """

    def __init__(
        self,
        terms: BreakerTerms,
        name: str,
        *,
        seed: int = 0,
        changed: Callable[[str, State], None] | None = None,
    ) -> None:
        self.name = name
        self.terms = terms
        self.state: State = "closed"
        self._seed = seed
        self._changed = changed
        self._guard = threading.Lock()
        self._recent: deque[bool] = deque(maxlen=terms.window)
        self._row = 0
        self._opened = 0
        self._times = 0
        self._until = 0.0
        self._probed = 0

    def allows(self, now: float) -> bool:
        """Whether a call may be made now. While it probes one call at a time may; one that is never told of is waited for as long
        as it was left alone before.
        """
        if self.state == "closed":
            return True
        with self._guard:
            return self._allowed(now)

    def succeeded(self, now: float, seconds: float) -> None:
        """A call that was allowed succeeded, and took so long."""
        slow = self.terms.slow_ms
        if slow is not None and seconds * _MILLISECONDS > slow:
            self.failed(now)
            return
        with self._guard:
            if self.state == "closed":
                self._row = 0
                self._recent.append(False)
            elif self.state == "half_open":
                self._probed += 1
                self._until = now
                if self._probed >= self.terms.probes:
                    self._close()

    def failed(self, now: float) -> None:
        """A call that was allowed failed."""
        with self._guard:
            if self.state == "half_open":
                self._open(now)
            elif self.state == "closed":
                self._row += 1
                self._recent.append(True)
                if self._row >= self.terms.failures or self._too_many():
                    self._open(now)

    def _allowed(self, now: float) -> bool:
        if self.state == "closed":  # since it was looked at
            return True
        if now < self._until:
            return False
        if self.state == "open":
            self._probed = 0
            self._become("half_open")
        self._until = now + self._wait()
        return True

    def _too_many(self) -> bool:
        recent = self._recent
        return len(recent) == self.terms.window and sum(recent) >= self.terms.rate * self.terms.window

    def _open(self, now: float) -> None:
        self._times += 1
        self._opened += 1
        self._until = now + self._wait()
        self._become("open")

    def _close(self) -> None:
        self._times = self._row = 0
        self._recent.clear()
        self._become("closed")

    def _wait(self) -> float:
        terms = self.terms
        longest = min(terms.longest_s, terms.wait_s * 2.0 ** min(self._times - 1, 60))
        return longest * (1 - derive_seed(self._seed, self.name, self._opened) / _SEEDS / 2)

    def _become(self, state: State) -> None:
        self.state = state
        if self._changed is not None:
            self._changed(self.name, state)
