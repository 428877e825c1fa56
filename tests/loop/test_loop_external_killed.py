"""Predictions that were acknowledged are there, each once, with each review that is due, however often the process is killed."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from loopline.app.home import open_home
from loopline.app.work import lane_works
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.labels.review import queue
from loopline.labels.review.choosing import chosen
from loopline.loop.history import History
from loopline.loop.ingestion import ingest_until
from loopline.loop.load import load_loop
from loopline.loop.plan import apply
from loopline.loop.review import fill_reviews
from loopline.loop.source import Pushed
from loopline.loop.take_in import take_in
from loopline.scoring.record import prediction_table

PROGRAM = Path(__file__).with_name("external_program.py")
KILLS = 8
EACH = 5  # rows of a push, as the program has it


@pytest.mark.heavy
def test_killed_at_any_point_nothing_acknowledged_is_lost_or_doubled(tmp_path):
    declared = load_loop(PROGRAM.with_name("external_loop.py"))
    loop = replace(
        declared, sources={**declared.sources, "scored": replace(declared.sources["scored"], function=Pushed())}
    )
    start = sys.modules["loopline_loop_external_loop"].made()["asked_at"][0].replace(hour=0)
    settings, clock = Settings.read(tmp_path, environment={"LOOPLINE_DURABLE": "0"}), ReplayClock(start)
    resources = open_home(settings, clock=clock, seed=7, silent=True)
    apply(resources.database, loop, actor="test", at=start)
    rng, told = np.random.default_rng(11), -1
    for _ in range(KILLS):
        command = [sys.executable, str(PROGRAM), str(tmp_path), str(max(told, 0))]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "POLARS_MAX_THREADS": "1"}
        ) as process:
            assert process.stdout.readline()
            time.sleep(float(rng.uniform(0, 2)))
            process.kill()
            told = max([told, *map(int, process.stdout.read().split())])
    lane = lane_works(resources, loop, History(resources.tables), compare=False)[0].lane
    clock.turn_to(start + (told + 2) * timedelta(minutes=10))
    ingest_until(resources, loop, clock.now(), begin=start)
    take_in(resources, lane)
    fill_reviews(resources, lane, clock.now())
    found = resources.tables.open(prediction_table("credit", "default")).read()
    assert found["prediction_id"].n_unique() == found.height
    assert (told + 1) * EACH <= found.height <= (told + 2) * EACH  # the last may be kept and not answered
    assert found["_key"].to_list() == [f"l{number:05}" for number in range(found.height)]
    expected = chosen(found, lane.operation.review, None, lane.operation.model.output, 7)
    with resources.database.reading() as tx:
        items = queue.find(tx, "credit")
    assert sorted(one.prediction_id for one in items) == sorted(expected["prediction_id"])
    assert told > 3
    resources.database.close()
