"""The shipper, and the crash test: whatever is killed whenever, each acknowledged prediction is in its table exactly once."""

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from datetime import UTC, datetime

import pytest

from loopline.errors import Conflict
from loopline.scoring.block import Block, encode
from loopline.scoring.record import Prediction
from loopline.scoring.shipper import Shipped, ship, ship_all
from loopline.scoring.spool import Spool, claim_spool
from loopline.scoring.spool_folder import CORRUPT, SEALED, SpoolFolder, SpoolState
from loopline.tables.tables import Tables

NOW = datetime(2026, 5, 1, tzinfo=UTC)
KILLS = int(os.environ.get("LOOPLINE_TEST_KILLS", "12"))

# Imports once, then forks one victim for each line it is told: it appends, acknowledges, and ships beside, until killed.
VICTIMS = textwrap.dedent(
    """
    import itertools, os, sys, threading, time
    from datetime import UTC, datetime
    from pathlib import Path
    import msgspec
    from loopline.scoring.block import Block, encode
    from loopline.scoring.record import Prediction
    from loopline.scoring.shipper import ship_all
    from loopline.scoring.spool import claim_spool
    from loopline.tables.tables import Tables

    root, now = Path(sys.argv[1]), datetime(2026, 5, 1, tzinfo=UTC)

    def shipping():
        tables = Tables(root / "tables", durable=False)
        while True:
            ship_all(root / "spool", tables)

    def victim():
        spool = claim_spool(root / "spool", fsync=False, segment_bytes=3000)
        threading.Thread(target=shipping, daemon=True).start()
        for number in itertools.count():
            batch = [
                Prediction(
                    prediction_id=f"{spool.instance}-{number}-{part}", project="p", endpoint="e", model="m",
                    model_version=1, decision_version=1, variant="champion", key=str(part), at=now, scored_at=now,
                    score=0.5, decision="negative", numbers={"distance": float(number)},
                )
                for part in range(number % 3 + 1)
            ]
            spool.append([encode(Block.of(one)) for one in batch])
            os.write(1, "".join(one.prediction_id + "\\n" for one in batch).encode())
            time.sleep(0.001)

    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            victim()
        os.write(1, b"%d\\0" % child)
        os.waitpid(child, 0)
        os.write(1, b"\\0")
    """
)


def packed(prediction_id, model="m", **more):
    return encode(
        Block.of(
            Prediction(
                prediction_id=prediction_id,
                project="p",
                endpoint="e",
                model=model,
                model_version=1,
                decision_version=1,
                variant="champion",
                key=prediction_id,
                at=NOW,
                scored_at=NOW,
                score=0.25,
                decision="negative",
                **more,
            )
        )
    )


def ids(tables, model="m"):
    return tables.open(f"predictions.p.{model}").read()["prediction_id"].to_list()


@pytest.fixture
def tables(tmp_path):
    return Tables(tmp_path / "tables", durable=False)


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool" / "0000", fsync=False)


def test_segments_go_to_the_table_of_each_model_and_are_deleted(spool, tables):
    spool.append([packed("a"), packed("b", model="other"), packed("c")])
    spool.seal()
    spool.append([packed("d")])
    spool.seal()
    spool.append([packed("e")])
    assert ship(spool.folder.path, tables) == Shipped(segments=2, rows=4)
    assert ids(tables) == ["a", "c", "d"]
    assert ids(tables, "other") == ["b"]
    assert spool.folder.numbers(SEALED) == []
    assert ship(spool.folder.path, tables) == Shipped()
    spool.close()
    assert ship(spool.folder.path, tables) == Shipped(segments=1, rows=1)
    assert ids(tables) == ["a", "c", "d", "e"]


def test_a_killed_process_leaves_nothing_behind_that_is_not_shipped(spool, tables):
    spool.append([packed("a")])
    spool._lock.close()
    assert ship_all(spool.folder.path.parent, tables) == Shipped(segments=1, rows=1)
    assert ids(tables) == ["a"]


@pytest.mark.parametrize("moment", ["identify", "recover", "numbers", "state"])
def test_shipped_while_the_next_process_takes_over_no_number_and_no_id_is_used_again(
    spool, tables, moment, monkeypatch
):
    """A segment that went to its table just before or after the next process looked is counted all the same: else what that one writes
    would be taken for what the table has.
    """
    spool.append([packed("a")])
    spool.seal()
    spool._lock.close()
    looked = getattr(SpoolFolder, moment)

    def ship_and_look(folder, *given, **named):
        monkeypatch.undo()
        ship(folder.path, tables)
        return looked(folder, *given, **named)

    def look_and_ship(folder, *given, **named):
        found = looked(folder, *given, **named)
        monkeypatch.undo()
        ship(folder.path, tables)
        return found

    for meanwhile in (ship_and_look, look_and_ship):
        monkeypatch.setattr(SpoolFolder, moment, meanwhile)
        after = Spool(spool.folder.path, fsync=False)
        assert after.instance != spool.instance
        name = meanwhile.__name__
        after.append([packed(name)])
        after.close()
        ship(after.folder.path, tables)
        assert ids(tables)[-1] == name
        spool = after
        spool_of_before = Spool(spool.folder.path, fsync=False)
        spool_of_before.append([packed(f"{name} again")])
        spool_of_before.seal()
        spool_of_before._lock.close()
    assert ids(tables) == ["a", "ship_and_look", "ship_and_look again", "look_and_ship"]


def test_features_that_come_and_go_are_columns_with_nulls(spool, tables):
    spool.append([packed("a", numbers={"x": 1.5})])
    spool.seal()
    spool.append([packed("b", numbers={"y": 2.5}, categories={"c": "UA"})])
    spool.seal()
    ship(spool.folder.path, tables)
    rows = tables.open("predictions.p.m").read(columns=["_key", "feature_x", "feature_y", "feature_c"]).rows()
    assert rows == [("a", 1.5, None, None), ("b", None, 2.5, "UA")]


@pytest.mark.parametrize("state_kept", [True, False])
def test_a_death_between_commit_and_delete_ships_nothing_twice(spool, tables, state_kept):
    spool.append([packed("a"), packed("b", model="other")])
    spool.seal()
    path = spool.folder.segment(1, SEALED)
    shutil.copy(path, path.with_suffix(".copy"))
    ship(spool.folder.path, tables)
    path.with_suffix(".copy").rename(path)
    if not state_kept:
        spool.folder.keep(SpoolState(id=spool.id))
    ship(spool.folder.path, tables)
    assert ids(tables) == ["a"]
    assert ids(tables, "other") == ["b"]
    assert spool.folder.numbers(SEALED) == []


def test_a_damaged_segment_is_set_aside_and_the_rest_shipped(spool, tables):
    for one in ("a", "b"):
        spool.append([packed(one)])
        spool.seal()
    first = spool.folder.segment(1, SEALED)
    first.write_bytes(first.read_bytes()[:-1])
    assert ship(spool.folder.path, tables) == Shipped(segments=1, rows=1, damaged=1)
    assert ids(tables) == ["b"]
    assert spool.folder.numbers(CORRUPT) == [1]


def test_one_spool_is_shipped_by_one_at_a_time(spool, tables):
    lock = spool.folder.shipper_lock()
    with pytest.raises(Conflict) as caught:
        ship(spool.folder.path, tables)
    assert caught.value.code == "spool.in_use"
    assert ship_all(spool.folder.path.parent, tables) == Shipped()
    lock.close()


def test_killed_at_random_each_acknowledged_prediction_is_there_exactly_once(tmp_path, tables):
    chance = random.Random(7)
    acknowledged = []
    command = [sys.executable, "-c", VICTIMS, tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as mother:
        for _ in range(KILLS):
            acknowledged += acknowledged_until_killed(mother, chance.uniform(0.0, 0.25))
        mother.stdin.close()
    ship_all(tmp_path / "spool", tables)
    counts = Counter(ids(tables))
    assert len(acknowledged) > KILLS
    assert [one for one in acknowledged if counts[one] == 0] == []
    assert [one for one, count in counts.items() if count > 1] == []


def acknowledged_until_killed(mother, seconds):
    """The lines that a fresh victim wrote in full before it was killed, `seconds` after it was born."""
    mother.stdin.write(b"\n")
    told = b""
    while b"\0" not in told:
        told += mother.stdout.read(4096)
    before, _, after = told.partition(b"\0")
    # The victim may write before its mother tells of it: its number is what follows the last full line.
    early, _, pid = before.rpartition(b"\n")
    killer = threading.Timer(seconds, os.kill, (int(pid), signal.SIGKILL))
    killer.start()
    while not after.endswith(b"\0"):
        after += mother.stdout.read(1 << 16)
    killer.join()
    return [line.decode() for part in (early + b"\n", after[:-1]) for line in part.split(b"\n")[:-1] if line]


def test_a_spool_of_another_home_is_another_writer(tmp_path, tables):
    """Were ids equal, the table would take the second spool's first segment for one that it has."""
    for name in ("one", "two"):
        spool = claim_spool(tmp_path / name, fsync=False)
        spool.append([packed(name)])
        spool.close()
        ship_all(tmp_path / name, tables)
    assert ids(tables) == ["one", "two"]
