"""Who writes next: threads and processes, in the order they came, whoever dies or gives up."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from loopline.errors import Unavailable
from loopline.storage.write_queue import WriteQueue

WRITER = """
import pathlib, sys, time
from loopline.storage.write_queue import WriteQueue
with WriteQueue(pathlib.Path(sys.argv[1])):
    with open(sys.argv[2], "a") as served:
        served.write(sys.argv[3])
    time.sleep(float(sys.argv[4]))
"""


def writer(path, served, name, seconds=0.0):
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(served), name, str(seconds)])


def waiting(path):
    """How many wait for the lock of that file, as the system counts them."""
    number = f":{path.stat().st_ino} "
    return sum("->" in line and number in line for line in Path("/proc/locks").read_text().splitlines())


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_writers_are_served_in_the_order_they_came():
    queue, served = WriteQueue(), []

    def write(number):
        with queue:
            served.append(number)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    with queue:
        for number, writer in enumerate(writers):
            writer.start()
            while len(queue._waiting) <= number:
                time.sleep(0.001)
    for writer in writers:
        writer.join()
    assert served == list(range(20))


def test_a_writer_that_waits_too_long_is_told_and_forgotten():
    queue = WriteQueue(patience=0.02)
    with queue:
        with pytest.raises(Unavailable, match=r"writing for 0\.02 seconds") as raised:
            queue.__enter__()
        assert raised.value.code == "database.busy"
    for _ in range(2):
        with queue:
            pass


def test_processes_are_served_in_the_order_they_came(tmp_path):
    path, served = tmp_path / "turn", tmp_path / "served"
    writers = []
    with WriteQueue(path):
        for number in range(4):
            writers.append(writer(path, served, str(number)))
            until(lambda number=number: waiting(path) > number)
    assert [one.wait(60) for one in writers] == [0] * 4
    assert served.read_text() == "0123"


def test_a_process_that_dies_with_the_turn_gives_it_up(tmp_path):
    path, served = tmp_path / "turn", tmp_path / "served"
    first = writer(path, served, "0", seconds=600)
    until(served.exists)
    second = writer(path, served, "1")
    until(lambda: waiting(path) == 1)
    first.kill()
    assert first.wait(60) != 0
    assert second.wait(60) == 0
    assert served.read_text() == "01"


def test_whoever_gave_up_holds_nothing_up_later(tmp_path):
    path = tmp_path / "turn"
    with WriteQueue(path):
        for _ in range(3):
            with pytest.raises(Unavailable) as raised:
                WriteQueue(path, patience=0.02).__enter__()
            assert raised.value.code == "database.busy"
    until(lambda: waiting(path) == 0)
    with WriteQueue(path, patience=5.0):
        pass


def test_without_a_folder_threads_still_queue(tmp_path):
    with WriteQueue(tmp_path / "none" / "turn"):
        assert not (tmp_path / "none").exists()
