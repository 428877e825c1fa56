"""What a contestant is given and what it says. Only the standard library: every environment has it."""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any


def given() -> dict[str, Any]:
    """The task: `mode`, `stream` (Parquet), `reference` (rows), `ends` (the row behind each later chunk), `numbers`, `categories`."""
    return dict(json.loads(Path(sys.argv[1]).read_text()))


class Answer:
    """Pages in the order of rows, and what it took."""

    def __init__(self) -> None:
        self.pages: list[dict[str, Any]] = []
        self.more: dict[str, Any] = {}
        self._began, self._worked = time.perf_counter(), time.process_time()

    def page(self, row: int, columns: list[str], kind: str = "drift") -> None:
        """`row` is the last row that was looked at; `columns` the likeliest causes first."""
        self.pages.append({"row": row, "columns": columns, "kind": kind})

    def tell(self) -> None:
        seconds = time.perf_counter() - self._began
        cpu = time.process_time() - self._worked
        said = {"pages": self.pages, "seconds": seconds, "cpu": cpu, "memory_mb": _most_mb(), **self.more}
        print("\n" + json.dumps({"answer": said}), flush=True)


def _most_mb() -> float:
    """The most memory of this program so far. What the kernel tells of a process as a whole begins with the memory of who started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:")) / 1024
