"""Waiting longer after each failure in a row, so that what is down is not asked without pause."""

import time
from collections.abc import Callable

FIRST_SECONDS = 4.0
LONGEST_SECONDS = 300.0


class Backoff:
    """Ready at once; after a failure only 4 seconds later, then 8, and so on up to 5 minutes. One success ends it.

    `monotonic` gives seconds that never go back.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._failures = 0
        self._not_before = 0.0

    def ready(self) -> bool:
        """Whether it is time to try."""
        return self._monotonic() >= self._not_before

    def note(self, *, succeeded: bool) -> None:
        """Say how the try went."""
        self._failures = 0 if succeeded else self._failures + 1
        wait = 0.0 if succeeded else min(FIRST_SECONDS * 2 ** (self._failures - 1), LONGEST_SECONDS)
        self._not_before = self._monotonic() + wait
