"""Who goes first on a busy machine: answers, then what can wait."""

import os
import threading
from contextlib import suppress

_NICE = 10


def make_way() -> None:
    """Let others go before the calling thread: what it ships and trains can wait, callers cannot. Its child processes inherit
    that, so it must not be a thread that starts a scoring process.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
