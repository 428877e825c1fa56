"""A site for schedules: a pipeline file in force, `loopline up` in processes of their own, and what the database says came of it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from loopline.pipelines import reading
from loopline.pipelines.schedules.store import schedule, tick
from loopline.storage.artifacts import open_artifacts
from loopline.storage.database import Database

LOOPLINE = str(Path(sys.executable).parent / "loopline")
WITHIN = 180.0
QUIET = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "LOOPLINE_DURABLE": "0", "LOOPLINE_LEASE_S": "2"}


class Site:
    """One database with artifacts and tables, and home folders on it: each may have an `up` of its own."""

    def __init__(self, folder: Path, *, database_url: str = "") -> None:
        self.folder = folder
        self.url = database_url or f"sqlite:///{folder / 'loopline.db'}"
        shared = {"LOOPLINE_DATABASE_URL": self.url, "LOOPLINE_ARTIFACTS_URL": str(folder / "artifacts")}
        self.environment = {**os.environ, **QUIET, **shared, "LOOPLINE_TABLES_URL": str(folder / "tables")}
        self.processes: list[subprocess.Popen[bytes]] = []
        self._database: Database | None = None

    def command(self, *arguments: str, home: str = "home") -> Any:
        """What a command says, as plain data."""
        asked = [LOOPLINE, *arguments, "--home", str(self.folder / home), "--json"]
        done = subprocess.run(asked, capture_output=True, text=True, env=self.environment, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def apply(self, text: str, name: str = "site_pipes") -> Any:
        """Put a file in force."""
        (self.folder / f"{name}.py").write_text(text)
        return self.command("pipelines", "apply", str(self.folder / f"{name}.py"))

    def up(self, *arguments: str, home: str = "home", **environment: str) -> tuple[subprocess.Popen[bytes], str]:
        """Start `up`; the process, once it answers, and where its control plane is."""
        ports = {"LOOPLINE_PORT": str(free_port()), "LOOPLINE_SCORING_PORT": str(free_port())}
        asked = [LOOPLINE, "up", *arguments, "--home", str(self.folder / home), "--json"]
        with self.log(home).open("ab") as log:
            process = subprocess.Popen(
                asked, stdout=subprocess.PIPE, stderr=log, env={**self.environment, **ports, **environment}
            )
        self.processes.append(process)
        printed = b""
        while not printed.endswith(b"}\n"):
            line = process.stdout.readline()
            assert line, self.log(home).read_text()
            printed += line
        return process, json.loads(printed)["control"]

    def log(self, home: str = "home") -> Path:
        """What an `up` logs."""
        return self.folder / f"{home}.log"

    def end(self, process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
        """Signal it, and wait; its exit code."""
        process.send_signal(number)
        try:
            return process.wait(60)
        finally:
            process.stdout.close()

    @property
    def database(self) -> Database:
        """The database."""
        if self._database is None:
            self._database = Database.open(self.url, durable=False)
        return self._database

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        """All rows of a table."""
        with self.database.reading() as tx:
            return [dict(row) for row in tx.execute(sa.select(table)).mappings()]

    def executions(self, pipeline: str = "", state: str = "") -> list[reading.ExecutionRow]:
        """The executions."""
        with self.database.reading() as tx:
            return reading.find_executions(tx, pipeline=pipeline, state=state, limit=100_000)

    def result(self, execution: str) -> Any:
        """What it gave."""
        with self.database.reading() as tx:
            return reading.result_of(tx, execution, open_artifacts(str(self.folder / "artifacts"), durable=False))

    def until(self, found: Callable[[], Any]) -> Any:
        """Wait until something is so."""
        end = time.monotonic() + WITHIN
        while not (value := found()):
            assert time.monotonic() < end, "\n".join(path.read_text()[-6000:] for path in self.folder.glob("*.log"))
            time.sleep(0.1)
        return value

    def close(self) -> None:
        """End everything."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait(30)
                process.stdout.close()
        if self._database is not None:
            self._database.close()


def free_port() -> int:
    """A port that nobody has."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def post(control: str, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    """Send a message to the control plane."""
    return httpx.post(f"{control}{path}", content=body, headers=headers, timeout=30)


def check_ticks(site: Site, every: int = 1) -> list[dict[str, Any]]:
    """Between when each schedule was declared and how far it is decided, every second that divides has one tick, and each tick its
    execution, and no execution is without a tick.
    """
    told = site.rows(tick)
    for one in site.rows(schedule):
        fired = sorted(row["fire_at"].timestamp() for row in told if row["schedule"] == one["id"])
        first = (int(one["declared_at"].timestamp()) // every + 1) * every
        last = int(one["passed"].timestamp()) // every * every
        assert fired == [float(at) for at in range(first, last + 1, every)]
    assert {row["state"] for row in told} == {"started"}
    found = {one.execution: one for one in site.executions()}
    assert sorted(found) == sorted(row["execution"] for row in told)
    for row in told:
        window = found[row["execution"]].window
        assert window == (row["window_start"], row["window_end"])
        assert row["window_end"] == row["fire_at"]
    return told
