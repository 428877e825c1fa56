"""Appenders at once, in threads and in processes, and appenders that are killed."""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
from deltalake import DeltaTable, write_deltalake

from loopline.tables import Tables, TableSchema, datafile

APPENDER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
import polars as pl
from loopline.tables import Tables, TableSchema

root, writer, count, locks = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
schema = TableSchema({"n": pl.Int64()})
table = Tables(root, durable=True, locks=locks).create("t", schema)
now = datetime(2024, 1, 1, tzinfo=UTC)
for number in range((table.sequence(writer) or 0) + 1, count + 1):
    rows = pl.DataFrame([(f"{writer}-{number}", now, now, False, number)] * 3, schema=schema.all_columns, orient="row")
    table.append(rows, writer=writer, sequence=number)
    print(number, flush=True)
"""


def start(locks: Path, writer: str, count: int, tables: Tables) -> subprocess.Popen[str]:
    root = tables.url
    command = [sys.executable, "-c", APPENDER, root, writer, str(count), str(locks / "locks")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_threads_with_one_handle_and_with_their_own(table, rows, reopened):
    own = [reopened().open(table.name) for _ in range(3)]

    def work(writer: int) -> None:
        handle = own[writer] if writer < len(own) else table
        for number in range(15):
            handle.append(rows([f"{writer}-{number}"], number), writer=f"w{writer}", sequence=number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert sorted(table.read()["_key"]) == sorted(f"{writer}-{number}" for writer in range(6) for number in range(15))
    assert len(table.versions()) == 91


def test_threads_that_repeat_one_sequence_append_it_once(table, rows, reopened):
    handles = [reopened().open(table.name) for _ in range(6)]
    for sequence in range(10):
        with ThreadPoolExecutor(6) as pool:
            found = pool.map(
                lambda pair: pair[1].append(rows([f"{pair[0]}"], 1), writer="w", sequence=sequence),  # noqa: B023 - done within the loop
                enumerate(handles),
            )
            assert {version.version for version in found} == {sequence + 1}
    assert table.read().height == 10


def test_processes_at_once_lose_and_double_nothing(tmp_path, reopened):
    processes = [start(tmp_path, f"w{number}", 30, reopened()) for number in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    for process in processes:
        process.stdout.close()
    table = reopened().open("t")
    counted = table.read().group_by("_key").len()
    assert counted.height == 60
    assert set(counted["len"]) == {3}
    told = [(version.writer, version.sequence) for version in table.versions()[1:]]
    assert sorted(told) == [(f"w{writer}", number) for writer in range(2) for number in range(1, 31)]
    assert told[:30] != sorted(told)[:30], "one was done before the other began: nothing was shown"


def test_kill_at_any_point_loses_and_doubles_nothing(tmp_path, reopened):
    chance, acknowledged = random.Random(7), 0
    for _ in range(5):
        process = start(tmp_path, "w", 10_000, reopened())
        first = process.stdout.readline()
        time.sleep(chance.random() * 0.05)
        os.kill(process.pid, signal.SIGKILL)
        lines = [first, *process.stdout.read().split("\n")]
        process.wait()
        process.stdout.close()
        acknowledged = max(acknowledged, *(int(line) for line in lines if line.strip()))
        table = reopened().open("t")
        counted = table.read().group_by("n").len().sort("n")
        assert counted["n"].to_list() == list(range(1, table.sequence("w") + 1))
        assert set(counted["len"]) == {3}
        assert acknowledged <= table.sequence("w") <= acknowledged + 1
    assert DeltaTable(table.uri).count() == counted["len"].sum()


def test_delta_rs_and_we_append_to_one_table_in_an_object_store(bucket, tmp_path, rows, schema):
    """Both ask the store to make the next log entry only where there is none."""
    table = Tables(f"{bucket}/tables", locks=tmp_path / "locks").create("t", schema)
    table.append(rows(["first"], 0), writer="w", sequence=0)

    def ours() -> None:
        for number in range(1, 15):
            table.append(rows([f"ours-{number}"], number), writer="w", sequence=number)

    def theirs() -> None:
        for number in range(1, 15):
            write_deltalake(table.uri, rows([f"theirs-{number}"], number), mode="append")

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(ours), pool.submit(theirs)]:
            done.result()
    expected = ["first", *(f"{who}-{number}" for who in ("ours", "theirs") for number in range(1, 15))]
    assert sorted(table.read()["_key"]) == sorted(expected)
    assert table.version == 29


def test_a_retry_after_a_kill_between_file_and_commit_leaves_no_second_file(local_table, rows):

    list(datafile.write(local_table._folder, rows(["a"], 1), "w\x001", 0))
    assert local_table.read().is_empty()
    local_table.append(rows(["a"], 1), writer="w", sequence=1)
    assert len(list(Path(local_table.uri).glob("*.parquet"))) == 1
    assert local_table.read().equals(pl.concat([rows(["a"], 1)]))


FULL_DISK = """
import resource, sys
from datetime import UTC, datetime
import polars as pl
from loopline.errors import Unavailable
from loopline.tables import Tables

table = Tables(sys.argv[1]).open("t")
now = datetime(2024, 1, 1, tzinfo=UTC)
rows = pl.DataFrame([("a", now, now, False, 1)], schema=table.schema.all_columns, orient="row")
for limit in (10, 0):  # too little for a data file, too little for anything
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        table.append(rows, writer="w", sequence=1)
    except Unavailable as error:
        assert error.code == "table.write_failed"
    else:
        raise AssertionError("it was written")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert table.read().is_empty() and table.version == 0
table.append(rows, writer="w", sequence=1)
assert table.read().equals(rows)
"""


def test_a_write_that_does_not_fit_changes_nothing_and_may_be_repeated(tmp_path):
    Tables(tmp_path).create("t", TableSchema({"n": pl.Int64}))
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Tables(tmp_path).open("t").read().height == 1
    assert not list(tmp_path.rglob("*.tmp"))
