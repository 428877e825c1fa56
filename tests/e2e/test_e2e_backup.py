"""A backup and what is restored from it: the same to the last digest, whoever wrote or was killed meanwhile."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from loopline.app.backup.backup import backup
from loopline.app.backup.manifest import NAME
from loopline.app.backup.restore import restore, verify
from loopline.app.home import open_home
from loopline.errors import Conflict, Corrupt, InvalidInput, NotFound
from loopline.ledger import chain
from loopline.scoring.block import Block, encode
from loopline.scoring.record import Prediction
from loopline.scoring.shipper import ship_all
from loopline.scoring.spool import claim_spool
from loopline.testing.postgres import scratch_database

_spec = spec_from_file_location("operated", Path(__file__).with_name("operated.py"))
operated = module_from_spec(_spec)
_spec.loader.exec_module(operated)

NOW = datetime(2026, 5, 1, tzinfo=UTC)
KILLS = int(os.environ.get("LOOPLINE_TEST_KILLS", "4"))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    settings = operated.settings_in(tmp_path_factory.mktemp("ran") / "home")
    operated.operate(settings)
    return settings


@pytest.fixture
def home(ran, tmp_path):
    """A copy of it, to be changed, with a replay below."""
    shutil.copytree(ran.home, tmp_path / "home")
    shutil.copytree(ran.home, tmp_path / "home" / "replays" / "parcels")
    return operated.settings_in(tmp_path / "home")


@pytest.fixture
def small(tmp_path):
    """A home with next to nothing in it."""
    settings = operated.settings_in(tmp_path / "small")
    resources = open_home(settings, silent=True)
    resources.artifacts.put(b"one")
    with resources.database.transaction() as tx:
        chain.append(tx, project="p", kind="noted", actor="tester", subject="s", at=NOW, key="k", body={})
    resources.database.close()
    return settings


def opening(settings):
    return open_home(settings, silent=True)


def predictions(spool, count):
    made = [
        Prediction(
            prediction_id=f"{spool.instance}-{os.urandom(4).hex()}", project="p", endpoint="e", model="m",
            model_version=1, decision_version=1, variant="champion", key=str(number), at=NOW, scored_at=NOW, score=0.5,
            decision="negative", numbers={"distance": 1.0},
        )
        for number in range(count)
    ]  # fmt: skip
    spool.append([encode(Block.of(one)) for one in made])
    return [one.prediction_id for one in made]


def test_everything_is_equal_after_backup_and_restore(home, tmp_path):
    before = operated.held(home)
    below = operated.settings_in(home.home / "replays" / "parcels")
    made = backup(home, opening, tmp_path / "saved")
    assert {head.digest for head in made.ledgers.values()} == set(before.ledgers.values())
    assert verify(tmp_path / "saved") == made
    again = operated.settings_in(tmp_path / "again")
    restore(tmp_path / "saved", again)
    assert operated.held(again) == before
    assert operated.held(operated.settings_in(again.home / "replays" / "parcels")) == operated.held(below)
    assert operated.score(again, "scores.x").equals(operated.score(home, "scores.x"))
    for key in home.keys_path.iterdir():
        restored = again.keys_path / key.name
        assert restored.read_bytes() == key.read_bytes()
        assert restored.stat().st_mode == key.stat().st_mode
    assert (tmp_path / "saved").stat().st_mode & 0o077 == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".pending")]


@pytest.mark.heavy
def test_a_home_on_postgresql_and_s3_is_restored_into_others(ran, tmp_path, postgres_url, bucket):
    def elsewhere(url, name):
        return operated.settings_in(
            tmp_path / name,
            LOOPLINE_DATABASE_URL=url,
            LOOPLINE_TABLES_URL=f"{bucket}/{name}/tables",
            LOOPLINE_ARTIFACTS_URL=f"{bucket}/{name}/artifacts",
        )

    with scratch_database(postgres_url, "backed_up") as one, scratch_database(postgres_url, "restored") as other:
        settings = elsewhere(one, "one")
        operated.operate(settings)
        before = operated.held(settings)
        assert before.ledgers == operated.held(ran).ledgers
        made = backup(settings, opening, tmp_path / "saved")
        assert made.database == "postgresql"
        with pytest.raises(InvalidInput) as wrong:
            restore(tmp_path / "saved", operated.settings_in(tmp_path / "two"))
        assert wrong.value.code == "backup.other_database"
        with pytest.raises(Conflict) as taken:
            restore(tmp_path / "saved", elsewhere(one, "two"))
        assert taken.value.code == "backup.database_not_empty"
        restore(tmp_path / "saved", elsewhere(other, "two"))
        assert operated.held(elsewhere(other, "two")) == before
        assert operated.held(settings) == before
        scored = operated.score(elsewhere(other, "two"), "scores.x")
        assert scored.equals(operated.score(settings, "scores.x"))


WRITER = textwrap.dedent(
    """
    import itertools, sys
    from datetime import UTC, datetime
    from pathlib import Path
    import polars as pl
    from loopline.app.home import open_home
    from loopline.config import Settings
    from loopline.ledger import chain
    from loopline.tables import TableSchema

    resources = open_home(Settings.read(sys.argv[1], environment={"LOOPLINE_DURABLE": "0"}), silent=True)
    now = datetime(2026, 5, 1, tzinfo=UTC)
    table = resources.tables.create("written", TableSchema({"n": pl.Int64()}))
    with resources.database.reading() as tx:
        noted = [one.body["n"] for one in chain.entries(tx, "written", kind="noted")]
    first = (noted[-1] if noted else 0) + 1  # what an earlier one was killed at is in the table once
    for number in itertools.count(first):
        row = pl.DataFrame([(str(number), now, now, False, number)], schema=table.schema.all_columns, orient="row")
        artifact = resources.artifacts.put(f"artifact {number}".encode())
        table.append(row, writer="w", sequence=number)
        with resources.database.transaction() as tx:
            body = {"n": number, "artifact": artifact}
            chain.append(tx, project="written", kind="noted", actor="w", subject="s", at=now, key=str(number), body=body)
        print(number, flush=True)
    """
)


def test_a_backup_while_a_writer_works_and_is_killed_holds_one_moment(small, tmp_path):
    """What the ledger says was written is there; of the table at most what was under way is more."""
    chance = random.Random(3)
    for turn in range(4):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(small.home)], stdout=subprocess.PIPE, text=True)
        acknowledged = int(writer.stdout.readline())
        killed_first = turn % 2
        if killed_first:
            time.sleep(chance.random() * 0.1)
            os.kill(writer.pid, signal.SIGKILL)
            writer.wait()
        backup(small, opening, tmp_path / f"saved{turn}")
        os.kill(writer.pid, signal.SIGKILL) if not killed_first else None
        later = [int(line) for line in writer.stdout.read().split()]
        writer.wait()
        writer.stdout.close()
        again = operated.settings_in(tmp_path / f"again{turn}")
        restore(tmp_path / f"saved{turn}", again)
        resources = open_home(again, silent=True)
        with resources.database.reading() as tx:
            chain.verify(tx, "written")
            told = [one.body for one in chain.entries(tx, "written", kind="noted")]
        noted = [body["n"] for body in told]
        assert noted == list(range(1, len(noted) + 1))
        assert noted[-1] >= acknowledged
        assert all(resources.artifacts.get(body["artifact"]) == b"artifact %d" % body["n"] for body in told)
        rows = resources.tables.open("written").read()["n"].to_list()
        assert rows in (noted, [*noted, noted[-1] + 1])
        if killed_first and later:
            assert noted[-1] >= later[-1]
        resources.database.close()


BACKUP = "import sys; from loopline.cli.backup import app; app([sys.argv[1], '--home', sys.argv[2]])"


def test_killed_anywhere_there_is_a_whole_backup_or_none(small, tmp_path):
    for number in range(300):
        open_home(small, silent=True).artifacts.put(os.urandom(50) + b"%d" % number)
    chance, whole = random.Random(5), 0
    to = tmp_path / "saved"
    for _ in range(KILLS):
        process = subprocess.Popen([sys.executable, "-c", BACKUP, str(to), str(small.home)], stdout=subprocess.DEVNULL)
        copied = chance.randrange(280)
        while (
            process.poll() is None and sum(len(files) for _, _, files in os.walk(tmp_path / ".pending-saved")) < copied
        ):
            time.sleep(0.0005)
        process.kill()
        process.wait()
        if to.exists():
            verify(to)
            whole += 1
            shutil.rmtree(to)
        else:
            with pytest.raises(NotFound):
                verify(tmp_path / ".pending-saved" if (tmp_path / ".pending-saved").exists() else to)
    made = backup(small, opening, to)
    assert verify(to) == made
    assert sum(name.startswith("artifacts/") for name in made.files) == 301
    assert whole < KILLS, "none was killed in time: nothing was shown"


@pytest.mark.heavy
def test_killed_anywhere_there_is_a_whole_home_or_none(small, tmp_path):
    backup(small, opening, tmp_path / "saved")
    code = "import sys; from loopline.cli.restore import app; app([sys.argv[1], '--home', sys.argv[2]])"
    chance, before = random.Random(6), operated_ledgers(small)
    for _ in range(KILLS):
        home = tmp_path / "again"
        command = [sys.executable, "-c", code, str(tmp_path / "saved"), str(home)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not list(tmp_path.glob(".pending-again*")) and process.poll() is None:
            time.sleep(0.001)
        time.sleep(chance.random() * 0.2)
        process.kill()
        process.wait()
        if home.exists():
            assert operated_ledgers(operated.settings_in(home)) == before
            shutil.rmtree(home)
    restore(tmp_path / "saved", operated.settings_in(tmp_path / "again"))
    assert operated_ledgers(operated.settings_in(tmp_path / "again")) == before


def operated_ledgers(settings):
    resources = open_home(settings, silent=True)
    with resources.database.reading() as tx:
        found = {name: chain.verify(tx, name) for name in chain.projects(tx)}
    assert resources.artifacts.get(resources.artifacts.put(b"one")) == b"one"
    resources.database.close()
    return found


def test_any_damage_is_found_and_nothing_is_restored(small, tmp_path):
    made = backup(small, opening, tmp_path / "saved")
    for name in sorted(made.files):
        path = tmp_path / "saved" / name
        content = path.read_bytes()
        for damaged in (content[:-1] + bytes([content[-1] ^ 1]) if content else b"x", content + b"x", None):
            path.unlink() if damaged is None else path.write_bytes(damaged)
            with pytest.raises(Corrupt) as found:
                restore(tmp_path / "saved", operated.settings_in(tmp_path / "again"))
            assert found.value.code == "backup.damaged"
            assert name in found.value.message
            assert not (tmp_path / "again").exists()
            path.write_bytes(content)
    manifest = tmp_path / "saved" / NAME
    said = json.loads(manifest.read_bytes())
    said["files"].pop(min(said["files"]))
    manifest.write_text(json.dumps(said))
    with pytest.raises(Corrupt) as found:
        restore(tmp_path / "saved", operated.settings_in(tmp_path / "again"))
    assert found.value.code == "backup.manifest_damaged"
    assert not [path for path in tmp_path.iterdir() if "again" in path.name]


def test_nothing_is_written_over(small, tmp_path):
    backup(small, opening, tmp_path / "saved")
    before = sorted(path.read_bytes() for path in small.home.rglob("*") if path.is_file())
    for call in (
        lambda: restore(tmp_path / "saved", small),
        lambda: backup(small, opening, tmp_path / "saved"),
        lambda: backup(small, opening, tmp_path / "saved" / NAME),
    ):
        with pytest.raises(Conflict) as refused:
            call()
        assert refused.value.code == "backup.not_empty"
    assert sorted(path.read_bytes() for path in small.home.rglob("*") if path.is_file()) == before
    (tmp_path / "empty").mkdir()
    restore(tmp_path / "saved", operated.settings_in(tmp_path / "empty"))


def test_predictions_that_wait_in_a_spool_come_through_and_later_ones_are_not_taken_for_them(small, tmp_path):
    spool = claim_spool(small.spool_path, fsync=False, segment_bytes=500)
    waiting = [one for _ in range(4) for one in predictions(spool, 3)]
    resources = open_home(small, silent=True)
    ship_all(small.spool_path, resources.tables)
    waiting += predictions(spool, 3)

    def meanwhile(step: str) -> None:
        """Between the copies of the spools and of the tables more is logged, and some of it shipped."""
        if step == "database":
            for _ in range(4):
                predictions(spool, 3)
            ship_all(small.spool_path, resources.tables)

    backup(small, opening, tmp_path / "saved", progress=meanwhile)
    again = operated.settings_in(tmp_path / "again")
    restore(tmp_path / "saved", again)
    after = claim_spool(again.spool_path, fsync=False, segment_bytes=500)
    later = [one for _ in range(6) for one in predictions(after, 3)]
    after.close()
    restored = open_home(again, silent=True)
    ship_all(again.spool_path, restored.tables)
    shipped = restored.tables.open("predictions.p.m").read()["prediction_id"].to_list()
    assert len(shipped) == len(set(shipped))
    assert set(shipped) >= set(waiting + later)
    in_the_tables = resources.tables.open("predictions.p.m").read()["prediction_id"]
    assert set(shipped) - set(waiting + later) <= set(in_the_tables)
    for one in (resources, restored):
        one.database.close()
    spool.close()
