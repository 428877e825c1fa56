"""How long things took: kept beside what happened, never in its digest."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def measured(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds that the block takes to `seconds[name]`."""
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began
