"""A process and all that it started: what they hold of memory, what they used of the processor, how they end."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
_USED = slice(11, 13)  # user and system time, after the command's closing parenthesis
_PARENT = 1


def tree(pid: int) -> list[int]:
    """`pid` and its descendants that live."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                children.setdefault(int(_fields(int(entry.name))[_PARENT]), []).append(int(entry.name))
    found = [pid] if Path(f"/proc/{pid}").exists() else []
    for one in found:
        found += children.get(one, [])
    return found


def proportional_mb(pids: list[int]) -> float:
    """Their proportional set size together, MB: pages that several share are counted once."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def processor_seconds(pids: list[int]) -> float:
    """User and system time that they used up to now."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            total += sum(int(text) for text in _fields(pid)[_USED])
    return total / TICKS


def command_of(pid: int) -> str:
    """Its command line; empty where it ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def favour(pids: list[int]) -> None:
    """Let their sessions go before whatever else runs on the machine (root): each session is a group of its own to the
    scheduler, and within it all stays as it is.
    """
    for pid in pids:
        with suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text("-19")


def end(pid: int, patience: float) -> None:
    """SIGTERM to the first; after `patience` seconds SIGKILL to whatever is left of the tree."""
    pids = tree(pid)
    _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and any(map(_lives, pids)):
        time.sleep(0.05)
    for one in pids:
        if _lives(one):
            _signal(one, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        return _fields(pid)[0] != "Z"
    except OSError:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
