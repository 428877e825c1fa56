"""Pushes predictions of the external loop from number `argv[2]` on, takes them in and fills the review queue; says each push that was answered."""

import sys
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

from loopline.app.home import open_home
from loopline.app.work import lane_works
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.loop.history import History
from loopline.loop.ingestion import ingest_until
from loopline.loop.load import load_loop
from loopline.loop.pushes import push_rows
from loopline.loop.review import fill_reviews
from loopline.loop.source import Pushed
from loopline.loop.take_in import take_in

EACH = 5


def main() -> None:
    declared = load_loop(Path(__file__).with_name("external_loop.py"))
    sources = {**declared.sources, "scored": replace(declared.sources["scored"], function=Pushed())}
    loop = replace(declared, sources=sources)
    rows = sys.modules["loopline_loop_external_loop"].made().drop("defaulted")
    start = rows["asked_at"][0].replace(hour=0)
    clock = ReplayClock(start)
    resources = open_home(
        Settings.read(Path(sys.argv[1]), environment={"LOOPLINE_DURABLE": "0"}), clock=clock, seed=7, silent=True
    )
    lane = lane_works(resources, loop, History(resources.tables), compare=False)[0].lane
    spec = loop.sources["scored"].spec
    for number in count(int(sys.argv[2])):
        clock.turn_to(start + (number + 1) * timedelta(minutes=10))
        own = rows[number * EACH : (number + 1) * EACH]
        said = [{**row, "asked_at": row["asked_at"].isoformat()} for row in own.iter_rows(named=True)]
        push_rows(resources, spec, said, key=f"push {number}", actor="scorer")
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        ingest_until(resources, loop, clock.now(), begin=start)
        take_in(resources, lane)
        fill_reviews(resources, lane, clock.now())


if __name__ == "__main__":
    main()
