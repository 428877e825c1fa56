"""Times what a contestant does, in its own process: the clock, and the processor time of this process and all it started."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_USED = slice(11, 15)  # user and system time, its own and that of children that ended
FOLDER = Path(os.environ["BENCH_FOLDER"])
SEQUENCE, FAN_OUT = int(os.environ["BENCH_SEQUENCE"]), int(os.environ["BENCH_FAN_OUT"])
DATABASE = os.environ["BENCH_DATABASE"]


def timed(phase: str, steps: int, work: Callable[[], object], expected: object) -> None:
    """Run it and print a line of JSON. Its answer has to be right."""
    used, began = processor_seconds(), time.perf_counter()
    answer = work()
    took = time.perf_counter() - began
    cpu = processor_seconds() - used
    if answer != expected:
        raise SystemExit(f"{phase} gave {answer!r}, not {expected!r}")
    print(json.dumps({"phase": phase, "steps": steps, "seconds": took, "cpu": cpu}), flush=True)


def both(sequence: Callable[[int], object], fan_out: Callable[[int], object]) -> None:
    """One step alone, then all in sequence, each adding one, then all of a fan-out, the sum of what they give."""
    sequence(2)
    fan_out(2)
    timed("one", 1, lambda: sequence(1), 1)
    timed("sequence", SEQUENCE, lambda: sequence(SEQUENCE), SEQUENCE)
    timed("fan_out", FAN_OUT, lambda: fan_out(FAN_OUT), FAN_OUT * (FAN_OUT + 1) // 2)


def processor_seconds() -> float:
    """Of this process and its descendants, those that ended among them; and of the processes of BENCH_ALSO with theirs."""
    roots = [os.getpid(), *(int(pid) for pid in os.environ.get("BENCH_ALSO", "").split(",") if pid)]
    children: dict[int, list[int]] = {}
    fields: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            fields[int(entry.name)] = found
            children.setdefault(int(found[1]), []).append(int(entry.name))
    total = 0
    for pid in roots:
        waiting = [pid]
        while waiting:
            one = waiting.pop()
            total += sum(int(text) for text in fields.get(one, ["0"] * 15)[_USED])
            waiting += children.get(one, [])
    return total / _TICKS
