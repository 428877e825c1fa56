"""A home with a real packaged model, and scoring processes started on it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from loopline.access.secret import secret_digest
from loopline.models import package as packages
from loopline.models.manifest import Deployment, Manifest, TokenGrant, write_manifest
from loopline.models.packaging import package
from loopline.models.predictor import load_predictor
from loopline.models.signature import infer
from loopline.models.signing import create_key, load_public_keys, load_signing_key, sign
from loopline.storage.artifacts import open_artifacts

TOKENS = {
    "ll_scorer": (["predictions:create"], None),
    "ll_reader": (["models:read", "status:read"], None),
    "ll_all": (["models:read", "status:read", "predictions:create"], datetime.now(UTC) + timedelta(days=1)),
    "ll_expired": (["predictions:create"], datetime.now(UTC) - timedelta(seconds=1)),
    "ll_revoked": (["predictions:create"], None),
}
DECISION = {
    "false_positive": 1.0,
    "false_negative": 4.0,
    "review": 0.5,
    "type": "threshold",
    "threshold": 0.2,
    "abstain_low": 0.18,
    "abstain_high": 0.22,
}


@dataclass(frozen=True)
class Home:
    """A home on disk, with two versions of one model."""

    path: Path
    rows: pl.DataFrame
    packages: tuple[tuple[str, str], ...]

    def deploy(self, version: int, sequence: int, **changes) -> Manifest:
        """Write a manifest that serves `version`."""
        digest, envelope = self.packages[version - 1]
        deployment = Deployment(
            endpoint="late",
            model="late_arrival",
            version=version,
            package=digest,
            package_envelope=envelope,
            decision=DECISION,
            decision_version=1,
            views=[],
            key="flight_id",
            at="departs",
            fallback=0.25,
        )
        manifest = Manifest(
            project="flights",
            sequence=sequence,
            created_at=datetime.now(UTC),
            deployments=[msgspec.structs.replace(deployment, **changes)],
            tokens=[
                TokenGrant(digest=secret_digest(secret), principal=secret[3:], permissions=permissions, expires_at=end)
                for secret, (permissions, end) in TOKENS.items()
            ],
            revoked=[secret_digest("ll_revoked")],
        )
        write_manifest(self.path / "manifests" / "flights.json", manifest, load_signing_key(self.path / "keys"))
        return manifest

    def predictor(self, version: int):
        """The packaged model itself."""
        artifacts = open_artifacts(str(self.path / "artifacts"))
        digest, envelope = self.packages[version - 1]
        return load_predictor(
            artifacts, digest, envelope=artifacts.get(envelope), keys=load_public_keys(self.path / "keys")
        )

    def requests(self, count: int) -> list[dict]:
        """The first rows as a caller sends them."""
        rows = self.rows.head(count).to_dicts()
        return [{**row, "departs": row["departs"].isoformat()} for row in rows]


def built_home(path: Path, looked_up: AbstractSet[str] = frozenset()) -> Home:
    chance = np.random.default_rng(0)
    count = 300
    frame = pl.DataFrame(
        {
            "distance": chance.uniform(100, 3000, count),
            "hour": chance.integers(0, 24, count),
            "carrier": chance.choice(["AA", "UA", "DL"], count),
        }
    )
    label = (chance.uniform(size=count) < 0.1 + 0.02 * frame["hour"].to_numpy()).astype(np.int64)
    signature = infer(frame, label, {"distance", "hour", "carrier"} - looked_up)
    matrix = signature.encode(frame)
    artifacts = open_artifacts(str(path / "artifacts"), durable=False)
    key = create_key(path / "keys")
    made = []
    for seed in (1, 2):
        model = HistGradientBoostingClassifier(max_iter=5 * seed, random_state=seed).fit(matrix, label)
        content = package(model, signature, matrix[:50], calibrator=None, artifacts=artifacts).encoded()
        envelope = artifacts.put(sign(key, packages.PAYLOAD_TYPE, content))
        made.append((artifacts.put(content), envelope))
    start = datetime(2026, 5, 1, tzinfo=UTC)
    moments = [start + timedelta(minutes=minute) for minute in range(count)]
    rows = frame.with_columns(flight_id=pl.format("f{}", pl.int_range(count)), departs=pl.Series(moments))
    return Home(path, rows, tuple(made))


@pytest.fixture(scope="session")
def make_home():
    """Makes a home in a folder; the columns `looked_up` are features and not sent."""
    return built_home


@pytest.fixture
def own_home(tmp_path):
    """A home of the test's own."""
    return built_home(tmp_path)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home that the tests of a module share; version 1 is deployed."""
    made = built_home(tmp_path_factory.mktemp("home"))
    made.deploy(1, sequence=1)
    return made


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Running:
    """A scoring process that answers."""

    process: subprocess.Popen
    port: int
    log: Path
    grpc_port: int | None = None

    def client(self, token: str | None = "ll_all") -> httpx.Client:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=30)


@contextmanager
def running(home: Home, *, durable: bool = False, behind: float = 0.0, workers: int = 1, grpc: bool = False):
    """A scoring process on `home`, ready; `durable` syncs every prediction, `grpc` speaks gRPC, too."""
    port, grpc_port = free_port(), free_port() if grpc else None
    environment = {
        **os.environ,
        "LOOPLINE_GRPC_PORT": str(grpc_port or ""),
        "LOOPLINE_DURABLE": "1" if durable else "0",
        "LOOPLINE_SYNC_PREDICTIONS": "1" if durable else "0",
        "LOOPLINE_WORKERS": str(workers),
        "OMP_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
    }
    log_path = home.path / "process.log"
    command = [sys.executable, "-m", "loopline.server.scoring", "--home", str(home.path), "--port", str(port)]
    command += ["--behind", str(behind)]
    with log_path.open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    started = Running(process, port, log_path, grpc_port)
    try:
        _await_ready(started)
        yield started
    finally:
        process.terminate()
        process.wait(30)


def _await_ready(started: Running) -> None:
    end = time.monotonic() + 60
    with started.client(None) as client:
        while time.monotonic() < end and started.process.poll() is None:
            try:
                if client.get("/v2/health/ready").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
    raise AssertionError(started.log.read_text())


@pytest.fixture(scope="session")
def start():
    """Starts a scoring process on a home: `with start(home) as process`."""
    return running


@pytest.fixture(scope="module")
def process(home):
    """A scoring process that the tests of a module share."""
    with running(home) as started:
        yield started
