"""A supervised child, on a home without any model: its endpoint answers from the constant."""

import os
import signal
import socket
import time
from datetime import UTC, datetime

import httpx
import pytest

from loopline.config import Settings
from loopline.deploy.process import ScoringProcess
from loopline.errors import Unavailable
from loopline.models.manifest import Deployment, Manifest, write_manifest
from loopline.models.signing import create_key

NOWHERE = "sha256:" + "0" * 64


@pytest.fixture
def settings(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return Settings(home=tmp_path, artifacts_url=str(tmp_path / "artifacts"), durable=False, scoring_port=port)


@pytest.fixture
def process(settings):
    made = ScoringProcess(settings)
    yield made
    made.stop()


@pytest.fixture
def manifest(settings):
    deployment = Deployment(
        endpoint="late",
        model="late_arrival",
        version=1,
        package=NOWHERE,
        package_envelope=NOWHERE,
        decision={
            "false_positive": 1.0,
            "false_negative": 1.0,
            "review": 1.0,
            "type": "threshold",
            "threshold": 0.5,
            "abstain_low": 0.5,
            "abstain_high": 0.5,
        },
        decision_version=1,
        views=[],
        key="id",
        at="at",
        fallback=0.5,
    )
    written = Manifest(
        project="flights", sequence=1, created_at=datetime(2026, 5, 1, tzinfo=UTC), deployments=[deployment], tokens=[]
    )
    write_manifest(settings.manifests_path / "flights.json", written, create_key(settings.keys_path))


def live(settings):
    try:
        return httpx.get(f"http://127.0.0.1:{settings.scoring_port}/v2/health/live").status_code == 200
    except httpx.TransportError:
        return False


def test_it_is_started_again_when_it_dies_and_drained_when_stopped(settings, process, manifest):
    process.supervise()
    process.ready(60)
    first = process.pid
    os.kill(first, signal.SIGKILL)
    end = time.monotonic() + 60
    while process.pid in {first, None}:
        assert time.monotonic() < end
        time.sleep(0.02)
    process.ready(60)
    assert process.restarts == 1
    process.stop()
    assert process.pid is None
    assert not live(settings)
    time.sleep(0.3)
    assert process.pid is None


def test_a_process_that_ends_at_once_is_told_with_its_log(settings, process):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.scoring_port))
        taken.listen()
        process.start()
        with pytest.raises(Unavailable) as caught:
            process.ready(60)
    assert caught.value.code == "scoring.died"
    assert str(process.log_path) in caught.value.remedy
    assert "already in use" in process.log_path.read_text()
    assert "Traceback" not in process.log_path.read_text()


def test_it_is_not_ready_without_a_manifest(settings, process):
    process.start()
    end = time.monotonic() + 60
    while not live(settings):
        assert time.monotonic() < end
        time.sleep(0.05)
    with pytest.raises(Unavailable) as caught:
        process.ready(0.2)
    assert caught.value.code == "scoring.not_ready"
