"""Each finding with a planted fault: it is found and nothing else is, and what can be mended is whole afterwards."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy as sa

from loopline import native
from loopline.app.doctor.examine import examine
from loopline.app.home import open_home
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.models import registry
from loopline.runs import tracking
from loopline.runs.journal import Journal
from loopline.scoring.block import Block, encode
from loopline.scoring.record import Prediction
from loopline.scoring.spool import claim_spool
from loopline.scoring.spool_folder import Lock
from loopline.storage import migrations
from loopline.storage.database import Database
from loopline.testing.postgres import scratch_database

_spec = spec_from_file_location("operated", Path(__file__).parents[1] / "e2e" / "operated.py")
operated = module_from_spec(_spec)
_spec.loader.exec_module(operated)

AT = datetime(2026, 1, 5, tzinfo=UTC)
LONG_AGO = time.time() - 3 * 86_400


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    settings = operated.settings_in(tmp_path_factory.mktemp("ran") / "home")
    operated.operate(settings)
    return settings


@pytest.fixture
def home(ran, tmp_path) -> Settings:
    shutil.copytree(ran.home, tmp_path / "home")
    ports = {}
    for name in ("LOOPLINE_PORT", "LOOPLINE_SCORING_PORT"):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports[name] = str(probe.getsockname()[1])
    return operated.settings_in(tmp_path / "home", **ports)


def codes(settings: Settings, **asked) -> list[str]:
    return [finding.code for finding in examine(settings, **asked)]


def a_table(settings: Settings) -> Path:
    return settings.home / "tables" / "parcels.sendings"


def a_version(settings: Settings):
    resources = operated.opened(settings)
    with resources.database.reading() as tx:
        version = registry.versions(tx, "parcels", "late")[-1]
    resources.database.close()
    return version


def artifact_file(settings: Settings, digest: str) -> Path:
    return settings.home / "artifacts" / digest[7:9] / digest[9:]


def execute(settings: Settings, statement: str) -> None:
    database = Database.open(settings.database_url)
    with database.transaction() as tx:
        tx.execute(sa.text(statement))
    database.close()


def aged(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.exists() or path.write_bytes(b"x")
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def spooled(settings: Settings):
    spool = claim_spool(settings.spool_path, fsync=False)
    spool.append(
        [
            encode(
                Block.of(
                    Prediction(
                        prediction_id="waits", project="p", endpoint="e", model="m", model_version=1, decision_version=1,
                        variant="champion", key="k", at=AT, scored_at=AT, score=0.5, decision="negative", numbers={},
                    )
                )
            )
        ]
    )  # fmt: skip
    return spool


def database_gone(settings: Settings) -> None:
    for path in settings.home.glob("loopline.db*"):
        path.unlink()


def database_no_database(settings: Settings) -> None:
    database_gone(settings)
    (settings.home / "loopline.db").write_bytes(b"no database at all, but some text that is long enough to be one" * 99)


def page_damaged(settings: Settings) -> None:
    database = Database.open(settings.database_url)
    database.forget()  # everything into the file
    database.close()
    path = settings.home / "loopline.db"
    content = bytearray(path.read_bytes())
    page = len(content) // 4096 - 2
    content[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    path.write_bytes(content)


def schema_of_the_future(settings: Settings) -> None:
    execute(settings, "update alembic_version set version_num = '9999'")


def ledger_changed(settings: Settings) -> None:
    execute(settings, "update ledger set actor = 'somebody else' where seq = 2")


def key_open(settings: Settings) -> None:
    (settings.keys_path / "signing.pem").chmod(0o644)


def key_gone(settings: Settings) -> None:
    (settings.keys_path / "signing.pem").unlink()


def pseudonyms_gone(settings: Settings) -> None:
    resources = operated.opened(settings)
    resources.tables.blocked.add("somebody", [], {})
    resources.database.close()
    (settings.keys_path / "pseudonyms.key").unlink()


def spool_left(settings: Settings) -> None:
    spooled(settings).close()


def spool_damaged(settings: Settings) -> None:
    spooled(settings).close()
    [path] = settings.spool_path.glob("*/*.sealed")
    path.rename(path.with_suffix(".corrupt"))


def spool_torn(settings: Settings) -> None:
    spool = spooled(settings)
    spool.close()
    [path] = settings.spool_path.glob("*/*.sealed")
    path.unlink()
    path.with_suffix(".torn").write_bytes(b"half a fra")


def journal_left(settings: Settings) -> None:
    resources = operated.opened(settings)
    with resources.database.transaction() as tx:
        tracking.start(tx, project="p", experiment="e", run_id="run_1", at=AT)
    resources.database.close()
    journal = Journal(settings.home / "runs", "run_1", "w")
    journal.append("loss", 1, 0.5, AT)
    journal.close(remove=False)


def data_file_gone(settings: Settings) -> None:
    min(a_table(settings).glob("*.parquet")).unlink()


def data_file_cut(settings: Settings) -> None:
    path = min(a_table(settings).glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-1])


def log_entry_broken(settings: Settings) -> None:
    max((a_table(settings) / "_delta_log").glob("*.json")).write_text("{nonsense")


def stray_file(settings: Settings) -> None:
    aged(a_table(settings) / "part-00.parquet")
    aged(a_table(settings) / ".part-01.parquet.1.1.tmp")


def package_gone(settings: Settings) -> None:
    artifact_file(settings, a_version(settings).package).unlink()


def envelope_damaged(settings: Settings) -> None:
    artifact_file(settings, a_version(settings).envelope).write_bytes(b"{}")


def artifact_of_nobody(settings: Settings) -> None:
    resources = operated.opened(settings)
    aged(artifact_file(settings, resources.artifacts.put(b"nobody's")))
    resources.artifacts.put(b"just now: what names it may still come")
    resources.database.close()


def unfinished(settings: Settings) -> None:
    aged(settings.home / "manifests" / ".pending-abc")


def batch_begun(settings: Settings) -> None:
    aged(settings.home / "batch" / "x" / "job.json")


def pid_of_a_dead_process(settings: Settings) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    path = settings.home / "log" / "scoring-1.pid"
    path.parent.mkdir(exist_ok=True)
    path.write_text(str(process.pid))


class Fault(NamedTuple):
    plant: Callable[[Settings], None]
    code: str
    severity: str = "error"
    mendable: bool = False


FAULTS = [
    Fault(database_gone, "database.missing"),
    Fault(database_no_database, "database.unreachable"),
    Fault(page_damaged, "database.damaged"),
    Fault(schema_of_the_future, "database.schema_newer"),
    Fault(ledger_changed, "ledger.broken"),
    Fault(key_open, "keys.readable", mendable=True),
    Fault(key_gone, "signing.key_not_found"),
    Fault(pseudonyms_gone, "keys.pseudonyms_missing"),
    Fault(spool_left, "spool.waiting", "warning", mendable=True),
    Fault(spool_damaged, "spool.damaged"),
    Fault(spool_torn, "spool.torn", "note", mendable=True),
    Fault(journal_left, "run.journal_waiting", "warning", mendable=True),
    Fault(data_file_gone, "table.damaged"),
    Fault(data_file_cut, "table.damaged"),
    Fault(log_entry_broken, "table.log_unreadable"),
    Fault(stray_file, "table.strays", "warning", mendable=True),
    Fault(package_gone, "artifact.missing"),
    Fault(envelope_damaged, "artifact.corrupt"),
    Fault(artifact_of_nobody, "artifact.unnamed", "note"),
    Fault(unfinished, "leftover.unfinished", "warning", mendable=True),
    Fault(batch_begun, "batch.begun", "note"),
    Fault(pid_of_a_dead_process, "leftover.pid", "note", mendable=True),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.plant.__name__)
def test_a_planted_fault_is_found_alone_and_mended_where_it_can_be(home, fault):
    assert codes(home) == []
    fault.plant(home)
    held = {path: path.stat().st_mtime_ns for path in home.home.rglob("*") if path.is_file() and "db" not in path.name}
    [finding] = examine(home)
    assert (finding.code, finding.severity, finding.mendable) == (fault.code, fault.severity, fault.mendable)
    assert len(finding.means) > 20
    assert len(finding.remedy) > 5
    now = {path: path.stat().st_mtime_ns for path in home.home.rglob("*") if path.is_file() and "db" not in path.name}
    assert {path: when for path, when in now.items() if "lock" not in path.name} == {
        path: when for path, when in held.items() if "lock" not in path.name
    }
    [after] = examine(home, mend=True)
    assert bool(after.mended) == fault.mendable
    assert codes(home) == ([] if fault.mendable else [fault.code])


def test_an_old_schema_is_told_and_brought_up_to_date(home, tmp_path):
    first = min((migrations.FOLDER / "versions").glob("0*.py"))
    (tmp_path / "migrations" / "versions").mkdir(parents=True)
    shutil.copy(first, tmp_path / "migrations" / "versions")
    database_gone(home)
    database = Database.open(home.database_url)
    migrations.upgrade(database, folder=tmp_path / "migrations")
    database.close()
    [finding] = examine(home)
    assert (finding.code, finding.severity, finding.mendable) == ("database.schema_outdated", "warning", True)
    assert examine(home, mend=True)[0].mended.startswith("upgraded to ")
    assert "database.schema_outdated" not in codes(home)


def test_what_was_mended_is_where_it_belongs(home):
    spool_left(home)
    journal_left(home)
    examine(home, mend=True)
    resources = operated.opened(home)
    assert resources.tables.open("predictions.p.m").read()["prediction_id"].to_list() == ["waits"]
    with resources.database.reading() as tx:
        assert tracking.get(tx, "run_1").metrics == {"loss": 0.5}
    resources.database.close()


def test_damage_that_keeps_the_size_is_found_by_reading_all(home):
    path = min(a_table(home).glob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[10:60] = bytes(50)
    path.write_bytes(content)
    assert codes(home) == []
    assert codes(home, deep=True) == ["table.damaged"]


def test_an_unneeded_artifact_that_was_damaged_is_found_by_reading_all(home):
    resources = operated.opened(home)
    digest = resources.artifacts.put(b"nobody's")
    resources.database.close()
    artifact_file(home, digest).write_bytes(b"changed")
    assert codes(home) == []
    assert codes(home, deep=True) == ["artifact.corrupt"]


def test_strays_wait_for_batches_that_are_under_way(home):
    stray_file(home)
    batch_begun(home)
    found = examine(home, mend=True)
    assert [(one.code, one.severity, one.mendable) for one in found] == [
        ("table.strays", "note", False),
        ("batch.begun", "note", False),
    ]
    assert (a_table(home) / "part-00.parquet").exists()


def test_a_clock_that_went_back_is_told(home):
    [finding] = examine(home, now=operated.START - timedelta(days=1))
    assert (finding.code, finding.severity) == ("clock.went_back", "error")


def test_a_taken_port_is_told_unless_up_runs(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", home.scoring_port))
        taken.listen()
        assert codes(home) == ["port.taken"]
        lock = Lock(home.home / "up.lock")
        assert codes(home) == []
        lock.close()


def test_libraries_that_were_not_built_are_told(home, monkeypatch):
    monkeypatch.setattr(native, "loaded", lambda _: None)
    told = [(one.code, one.severity) for one in examine(home)]
    assert told == [("trees.slow", "note"), ("counting.slow", "note")]


@pytest.mark.skipif(os.getuid() != 0, reason="mounting takes root")
def test_a_disk_that_is_nearly_full_is_told(home, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("this container may not mount")
    try:
        shutil.copytree(home.home, small / "home")
        moved = operated.settings_in(small / "home")
        moved = replace(moved, port=home.port, scoring_port=home.scoring_port)
        assert [(one.code, one.severity) for one in examine(moved)] == [("disk.low", "error")]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_home_on_postgresql_and_s3(postgres_url, bucket, tmp_path):
    with scratch_database(postgres_url, "doctor") as url:
        settings = operated.settings_in(
            tmp_path / "home",
            LOOPLINE_DATABASE_URL=url,
            LOOPLINE_TABLES_URL=f"{bucket}/tables",
            LOOPLINE_ARTIFACTS_URL=f"{bucket}/artifacts",
        )
        resources = open_home(settings, silent=True)
        resources.database.close()
        ports = {"port.taken"}  # the usual ports may be
        assert set(codes(settings)) <= ports
        late = SystemClock().now() + timedelta(minutes=1)
        assert set(codes(settings, now=late)) - ports == {"clock.differs"}
    assert "database.unreachable" in codes(settings)


def test_the_command_tells_by_its_exit_code(home):
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        code = "import sys; sys.argv[0] = 'loopline'; from loopline.cli.main import main; main()"
        ports = {"LOOPLINE_PORT": str(home.port), "LOOPLINE_SCORING_PORT": str(home.scoring_port)}
        command = [sys.executable, "-c", code, "doctor", "--home", str(home.home), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **ports})

    assert (run().returncode, run().stdout) == (0, "Nothing is wrong.\n")
    key_open(home)
    told = run("--json")
    assert told.returncode == 10
    [finding] = json.loads(told.stdout)
    assert (finding["code"], finding["mendable"], finding["mended"]) == ("keys.readable", True, "")
    assert "chmod 600" in run().stdout
    assert run("--mend").returncode == 0
    assert run().stdout == "Nothing is wrong.\n"
