"""Calls that may hang: made at once as long as they are fast, else in a thread, and waited for only so long."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TypeVar

Result = TypeVar("Result")

FAST_SECONDS = 0.005
LONGEST_SECONDS = 1.0

_THREADS = 4


class Patience:
    """Waits for calls that end fast without a thread's cost, and for no other beyond its time. Used by one thread.

    A call is made in a thread if the one before it took longer than `fast` seconds by `now`.
    """

    def __init__(self, *, fast: float = FAST_SECONDS, now: Callable[[], float] = perf_counter) -> None:
        self._fast = fast
        self._now = now
        self._slow = False
        self._threads: ThreadPoolExecutor | None = None

    def call(self, work: Callable[[], Result], until: float | None = None) -> Result:
        """What `work` gives. Raises `TimeoutError` where it is slow and has not ended by `until` (by `now`; None: within a second)."""
        began = self._now()
        seconds = LONGEST_SECONDS if until is None else until - began
        found = self._waited(work, seconds) if self._slow else work()
        self._slow = self._now() - began > self._fast
        return found

    def _waited(self, work: Callable[[], Result], seconds: float) -> Result:
        self._threads = self._threads or ThreadPoolExecutor(_THREADS, thread_name_prefix="patience")
        future = self._threads.submit(work)
        try:
            return future.result(max(0.0, seconds))
        finally:
            future.cancel()  # one that has not begun is not wanted any more
