"""Several workers on one port: they die and are replaced, and what they counted and logged stays."""

import os
import re
import signal
import time
from pathlib import Path

import httpx

from loopline.scoring.shipper import ship_all
from loopline.server.scoring.worker import TICK_SECONDS
from loopline.tables.tables import Tables


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def counted(process, name: str) -> int:
    with process.client() as client:
        text = client.get("/metrics").text
    return sum(
        int(float(value)) for value in re.findall(rf"^loopline_scoring_{name}{{[^}}]*}} (\S+)", text, re.MULTILINE)
    )


def test_a_worker_that_is_killed_is_replaced_and_nothing_acknowledged_is_lost(own_home, start, tmp_path):
    own_home.deploy(1, sequence=1)
    given, refused = [], 0
    with start(own_home, workers=2) as process:
        wait_until(lambda: len(children(process.process.pid)) == 2)
        before = children(process.process.pid)
        row = own_home.requests(1)
        for number in range(300):
            if number in {100, 200}:
                os.kill(children(process.process.pid)[0], signal.SIGKILL)
            try:  # a connection of its own each time: whichever worker is free takes it
                with process.client() as client:
                    answer = client.post("/predict/late", json={"rows": row})
            except httpx.TransportError:
                refused += 1
                continue
            given.append(answer.json()["predictions"][0]["prediction_id"])
        wait_until(lambda: len(children(process.process.pid)) == 2)
        assert len(set(children(process.process.pid)) & set(before)) <= 1
        assert counted(process, "worker_starts_total") == 4
    assert refused <= 2  # those in flight on the killed ones
    assert len(given) + refused == 300
    tables = Tables(tmp_path / "tables", durable=False)
    ship_all(own_home.path / "spool", tables)
    kept = tables.open("predictions.flights.late_arrival").read()["prediction_id"].to_list()
    assert len(set(kept)) == len(kept)
    assert set(given) <= set(kept)


def test_counts_are_those_of_all_workers_and_outlive_each(own_home, start):
    own_home.deploy(1, sequence=1)
    with start(own_home, workers=2) as process:
        for _ in range(60):
            with process.client() as client:
                client.post("/predict/late", json={"rows": own_home.requests(2)})
        wait_until(lambda: counted(process, "predictions_total") == 120)
        time.sleep(3 * TICK_SECONDS)  # by then each has written what it counted
        for pid in children(process.process.pid):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: counted(process, "worker_starts_total") == 4)
        assert counted(process, "predictions_total") == 120


def test_workers_end_with_their_parent_and_the_port_is_free_again(own_home, start):
    own_home.deploy(1, sequence=1)
    with start(own_home, workers=2) as process:
        wait_until(lambda: len(children(process.process.pid)) == 2)
        workers = children(process.process.pid)
        process.process.kill()
        process.process.wait()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
        with start(own_home) as other, other.client() as client:
            assert client.get("/v2/health/ready").status_code == 200


def test_told_to_stop_it_answers_what_is_under_way(own_home, start):
    own_home.deploy(1, sequence=1)
    with start(own_home, workers=2, durable=True) as process, process.client() as client:
        assert client.post("/predict/late", json={"rows": own_home.requests(1)}).status_code == 200
        process.process.send_signal(signal.SIGTERM)
        answers = [client.post("/predict/late", json={"rows": own_home.requests(1)})]  # on the connection that is kept
        while answers[-1].headers.get("connection") != "close":
            answers.append(client.post("/predict/late", json={"rows": own_home.requests(1)}))
        assert {answer.status_code for answer in answers} == {200}
        assert process.process.wait(20) == 0


def test_a_worker_is_small(own_home, start):
    """Proportional set size: what workers share counts once."""
    own_home.deploy(1, sequence=1)
    with start(own_home, workers=2) as process, process.client() as client:
        client.post("/predict/late", json={"rows": own_home.requests(100)})
        wait_until(lambda: len(children(process.process.pid)) == 2)
        for pid in children(process.process.pid):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            [kilobytes] = re.findall(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
            assert int(kilobytes) < 150_000
