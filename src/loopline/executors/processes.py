"""Processes of a step: all it started, what memory they hold, and the end of them."""

import os
import signal
from contextlib import suppress
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def descendants(pid: int) -> list[int]:
    """The process and all below it, as far as they are still its children's children."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        for task in _tasks(one):
            with suppress(OSError, ValueError):
                waiting += map(int, (task / "children").read_text().split())
    return found


def resident(pids: list[int]) -> int:
    """Bytes of memory that these processes hold; pages that several share count for each."""
    total = 0
    for pid in pids:
        with suppress(OSError, ValueError, IndexError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return total


def kill_all(group: int) -> None:
    """Kill the process group `group` and all that descends from its leader, also what left the group."""
    pids = descendants(group)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    for pid in pids[1:]:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    return _PAGE * os.sysconf("SC_PHYS_PAGES")


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []
