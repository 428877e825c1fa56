"""A replay whose sources fail, lie and stall as a plan says, and whose machine's clock jumps. Run in a process of its own.

python year_program.py LOOP HOME FROM UNTIL PLAN SAID

PLAN is JSON: `fail`, `garbage`, `other_shape` (chances of each for a call), `seed`. What was done is appended to SAID, a line each; what stands
there was done before, so that each fault of a window happens once, whatever is killed in between.
"""

import json
import random
import sys
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from loopline.cli.main import main
from loopline.clock import SystemClock
from loopline.loop import ingestion, replay

LOOP, HOME, START, UNTIL, PLAN, SAID = sys.argv[1:]
plan = json.loads(PLAN)
said = Path(SAID)
done = set(said.read_text().splitlines()) if said.exists() else set()
asked, now = ingestion._asked, SystemClock.now


def once(fault: str, *what: object) -> bool:
    """Whether a fault is planned for this call and did not happen yet; it is noted before it happens."""
    line = " ".join([fault, *map(str, what)])
    chance = random.Random(f"{plan['seed']} {line}").random()
    if chance >= plan[fault] or line in done:
        return False
    done.add(line)
    with said.open("a") as file:
        file.write(line + "\n")
    return True


def faulty(resources, source, window):
    for attempt in range(3):
        if once("fail", source.table, window.end.isoformat(), attempt):
            raise ConnectionError(f"{source.table} is away for request {random.random()}")
    frame = asked(resources, source, window)
    if frame.is_empty():
        return frame
    if once("other_shape", source.table, window.end.isoformat()):
        return frame.drop(source.spec.event_time)
    if once("garbage", source.table, window.end.isoformat()):
        keys = [pl.lit(None, frame.schema[name]).alias(name) for name in source.spec.key]
        return pl.concat([frame.head(3).with_columns(keys), frame])
    return frame


def jumping(self):
    """Now and then an hour ahead or behind."""
    found: datetime = now(self)
    return found + timedelta(hours=random.choice([0, 0, 1, -1]))


ingestion._asked = faulty
SystemClock.now = jumping
replay.PATIENCE = (0.01, 0.01)
sys.argv = ["loopline", "replay", LOOP, "--from", START, "--until", UNTIL, "--home", HOME, "--json"]
main()
