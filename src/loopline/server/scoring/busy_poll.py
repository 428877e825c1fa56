"""Staying awake for a moment where the next request is likely to come within it.

Putting a process to sleep and waking it takes longer than a small model: of a lone caller who asks again as soon as it is answered,
half of the time is that. So where its last request came soon after an answer, the event loop looks for the next one a few times before
it sleeps, and lets whoever else wants the core have it between two looks. Nothing is spent on a caller who is slower, nor where there
are several: what arrives while the process wakes up is answered together.
"""

import asyncio
import os
from collections.abc import Callable
from time import perf_counter

SOON_SECONDS = 200e-6
ALONE_AFTER = 8


class BusyPoll:
    """What one event loop knows of who asked when. A look costs a turn of the loop. `clock` gives seconds, from any beginning.

    `alone` says that the last requests, some `ALONE_AFTER`, were all of one caller.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = perf_counter) -> None:
        self.alone = False
        self._loop = loop
        self._clock = clock
        self._caller = 0
        self._streak = 0
        self._answered = 0.0
        self._soon = False
        self._looking = False

    def arrived(self, caller: int, now: float) -> None:
        """Note that a request begins to arrive, on the connection with that identity."""
        self._streak = self._streak + 1 if caller == self._caller else 0
        self._caller = caller
        self.alone = self._streak >= ALONE_AFTER
        self._soon = now - self._answered < SOON_SECONDS
        self._answered = 0.0

    def answered(self) -> None:
        """Note that an answer was written, and stay awake for a moment if that is worth it."""
        self._answered = self._clock()
        if self._soon and self.alone and not self._looking:
            self._looking = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        if self._clock() - self._answered < SOON_SECONDS:
            os.sched_yield()
            self._loop.call_soon(self._look)
        else:
            self._looking = False
