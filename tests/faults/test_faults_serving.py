"""The soak in short: requests under load across swaps, a rollback and killed workers; every prediction is accounted for."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import polars as pl
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PATIENT = ["--back", "60", "--follows", "60"]  # the machine has other tests to run


@pytest.mark.slow
def test_failed_requests_are_those_of_killed_workers_and_every_acknowledged_prediction_is_logged_once():
    short = ["--requests", "3000", "--swaps", "4", "--kills", "2", "--rollbacks", "1", "--workers", "2"]
    command = [sys.executable, str(BENCHMARKS / "soak.py"), *short, *PATIENT, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    assert [one for one in said["checks"] if not one["holds"]] == []
    assert done.returncode == 0
    figures = said["figures"]
    assert figures["requests"] >= 3000
    assert figures["rows_in_table"] >= figures["predictions"] > figures["requests"] - figures["failed"]
    assert figures["failed"] <= figures["connections_of_killed"]


@pytest.fixture
def soaking(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return tuple(import_module(f"soaking.{name}") for name in ("checks", "clients", "site", "workers"))


def evidence(soaking):
    """Two answers, one before and one after a swap; a request that was lost with its worker."""
    _, clients, site, workers = soaking
    answered = [
        clients.Answered(sent, sent + 0.1, key, (1.0, 2.0), f"pr-{key}", version, "champion", score)
        for sent, key, version in ((1.0, "k1", 1), (9.0, "k2", 2))
        for score in [site.expected(version, (1.0, 2.0))]
    ]
    lost = [clients.Lost(4.9, 5.0, ("k3",), 4001, "reset")]
    kills = [workers.Killed(4.95, frozenset({4001}), 0.5)]
    reigns = [site.Reign(1, 0.0, 6.0), site.Reign(2, 6.0)]
    rows = [(one.prediction_id, one.key, one.version, one.score) for one in answered]
    return clients.Heard(answered, lost, [], 3), kills, reigns, rows


def found(soaking, heard, kills, reigns, rows):
    checks = soaking[0]
    table = pl.DataFrame(rows, schema=["prediction_id", "_key", "model_version", "score"], orient="row")
    held = checks.check(heard, kills, reigns, table, checks.Bounds(2.0, 1.0))
    return [one.what.split()[0] for one in held if not one.holds]


def test_the_soak_is_content_with_what_is_right(soaking):
    assert found(soaking, *evidence(soaking)) == []


def test_the_soak_sees_what_is_wrong(soaking):
    heard, kills, reigns, rows = evidence(soaking)
    first, second = heard.answered
    assert found(soaking, heard, kills, reigns, rows[:1]) == ["every"]  # acknowledged, and not in the table
    assert found(soaking, heard, kills, reigns, [*rows, rows[0]]) == ["every"]  # there twice
    assert found(soaking, heard, kills, reigns, [*rows, ("pr-k9", "k9", 1, 0.5)]) == ["what"]  # nobody asked for it
    assert found(soaking, heard, kills, reigns, [*rows, ("pr-k3", "k3", 1, 0.5)]) == []  # logged, its answer lost
    assert found(soaking, heard, [], reigns, rows) == ["failed"]  # lost, and nobody was killed
    late = replace(heard, answered=[first, replace(second, version=1, score=first.score)])
    assert found(soaking, late, kills, reigns, [rows[0], ("pr-k2", "k2", 1, first.score)]) == ["answers"]
    mixed = replace(heard, answered=[first, replace(second, score=first.score)])
    assert found(soaking, mixed, kills, reigns, [rows[0], ("pr-k2", "k2", 2, first.score)]) == ["each"]
    assert found(soaking, heard, [replace(kills[0], back=2.5)], reigns, rows) == ["all"]
    assert found(soaking, heard, [replace(kills[0], lies=1)], reigns, rows) == ["whoever"]
    assert found(soaking, replace(heard, refused=["503"]), kills, reigns, rows) == ["every"]
