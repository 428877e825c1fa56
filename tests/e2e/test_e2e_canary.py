"""Variants for real: `loopline up`, a scoring process that is asked, and the watcher that rolls canaries back and forward."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from loopline.app.home import open_home
from loopline.config import Settings
from loopline.gates import variants
from loopline.loop.deployment import Predictors
from loopline.models import registry
from loopline.models.manifest import read_manifest
from loopline.models.package import PAYLOAD_TYPE
from loopline.models.packaging import package
from loopline.models.signing import load_public_keys, sign
from loopline.scoring.variants import Shares
from loopline.storage.database import Database
from loopline.tables.tables import Tables

TINY = Path(__file__).parent / "tiny_loop.py"
LOOPLINE = str(Path(sys.executable).parent / "loopline")
QUIET = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "TINY_DRIFT_DAY": "21"}
NOW = "2024-01-16T12:00:00Z"


def wait_until(done: Callable[[], Any], seconds: float = 240) -> Any:
    end = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.1)
    return found


def told(home: Path, *arguments: str) -> Any:
    done = subprocess.run(
        [LOOPLINE, *arguments, "--home", str(home), "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **QUIET},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@dataclass
class Running:
    """A loop in operation, and where its scoring answers."""

    home: Path
    process: subprocess.Popen
    url: str
    secret: str

    def ask(self, keys: list[str], **values: Any) -> list[dict[str, Any]]:
        rows = [{"order": key, "ordered_at": NOW, "price": 0.1, "shop": "a", **values} for key in keys]
        with httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.secret}"}, timeout=30) as client:
            answer = client.post("/predict/returns", json={"rows": rows})
        assert answer.status_code == 200, answer.text
        return answer.json()["predictions"]

    def ask_each(self, keys: list[str], **values: Any) -> Counter:
        """As requests of ten rows."""
        return Counter(
            one["variant"] for start in range(0, len(keys), 10) for one in self.ask(keys[start : start + 10], **values)
        )

    def manifest(self):
        path = self.home / "manifests" / "tiny.json"
        return read_manifest(path, load_public_keys(self.home / "keys")).deployments[0]

    def follows(self) -> None:
        """Wait until the scoring process serves what the manifest says."""
        sequence = read_manifest(self.home / "manifests" / "tiny.json", load_public_keys(self.home / "keys")).sequence
        wanted = f'loopline_scoring_manifest_sequence{{project="tiny"}} {sequence}'
        headers = {"authorization": f"Bearer {self.secret}"}
        wait_until(lambda: wanted in httpx.get(f"{self.url}/metrics", headers=headers).text.splitlines())


@contextmanager
def up(home: Path) -> Iterator[Running]:
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        control, scoring = one.getsockname()[1], other.getsockname()[1]
    secret = told(home, "tokens", "issue", f"asker{control}", "--role", "admin")["secret"]
    environment = {**os.environ, **QUIET, "LOOPLINE_PORT": str(control), "LOOPLINE_SCORING_PORT": str(scoring)}
    command = [LOOPLINE, "up", str(TINY), "--home", str(home), "--json"]
    with (home / "up.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment)
    try:
        printed = b""
        while not printed.endswith(b"}\n"):
            line = process.stdout.readline()
            assert line, (home / "up.log").read_text()
            printed += line
        running = Running(home, process, json.loads(printed)["scoring"], secret)
        running.follows()
        yield running
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def deployed(home: Path) -> list[variants.Deployed]:
    """What ever ran beside the champion."""
    with closing(Database.open(Settings.read(home).database_url)) as database, database.reading() as tx:
        return variants.find(tx, "tiny", model="returns")


def registered(home: Path, *models: Any) -> list[int]:
    """New versions of the model that take what the champion takes, fitted to nothing in particular."""
    resources = open_home(Settings.read(home))
    try:
        with resources.database.reading() as tx:
            signature = Predictors(resources).version(tx, "tiny", "returns", 1).signature
            views = registry.get_version(tx, "tiny", "returns", 1).lineage["views"]
        chance = np.random.default_rng(0)
        matrix = chance.normal(size=(200, len(signature.fields))).astype(np.float32)
        label = (matrix[:, 0] + chance.normal(size=200) > 0).astype(np.int64)
        made = []
        for model in models:
            fitted = model.fit(matrix, label)
            content = package(fitted, signature, matrix, calibrator=None, artifacts=resources.artifacts).encoded()
            with resources.database.transaction() as tx:
                version = registry.register_version(
                    tx,
                    project="tiny",
                    model="returns",
                    package=resources.artifacts.put(content),
                    envelope=resources.artifacts.put(sign(resources.key, PAYLOAD_TYPE, content)),
                    run_id=None,
                    lineage={"views": views},
                    metrics={},
                    at=resources.clock.now(),
                    cause=f"by hand: {model}",
                    created_by="ann",
                )
            made.append(version.version)
        return made
    finally:
        resources.database.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Version 1 serves; version 2 takes no missing values, so that rows without a price are too much for it; version 3 is sound."""
    made = tmp_path_factory.mktemp("canary") / "home"
    period = ["--from", "2024-01-01", "--until", "2024-01-17", "--home", str(made)]
    subprocess.run(
        [LOOPLINE, "replay", str(TINY), *period], env={**os.environ, **QUIET}, check=True, capture_output=True
    )
    assert registered(made, LogisticRegression(), HistGradientBoostingClassifier(max_iter=3)) == [2, 3]
    return made


KEYS = [f"o{number:04}" for number in range(600)]


def test_a_canary_that_fails_is_rolled_back_by_the_loop_itself(home, tmp_path):
    home = Path(shutil.copytree(home, tmp_path / "home"))
    with up(home) as running:
        said = ["--canary", "20%", "--slow", "0", "--reason", "to see"]
        assert told(home, "deploy", "returns:2", *said)["changed"]
        running.follows()
        [canary] = running.manifest().variants
        expected = Shares(running.manifest().variants).choose_many(KEYS)
        answered = {
            one["key"]: one["variant"] for start in range(0, 600, 100) for one in running.ask(KEYS[start : start + 100])
        }
        assert [answered[key] for key in KEYS] == expected
        assert binomtest(expected.count(canary.name), len(KEYS), 0.2).pvalue > 0.001
    with up(home) as running:  # another process, the same keys
        again = running.ask(KEYS[:100])
        assert [one["variant"] for one in again] == expected[:100]
        own = [key for key, name in zip(KEYS, expected, strict=True) if name == canary.name]
        failed = running.ask(own[:10], price=None)
        assert {(one["variant"], one["model_version"]) for one in failed} == {("champion", 1)}
        assert all(f"variant_failed:{canary.name}" in one["degraded"] for one in failed)
        running.ask_each([f"n{key}" for key in KEYS[:400]], price=None)
        ended = wait_until(lambda: [one for one in deployed(home) if one.state == "ended"])
        assert [(one.name, one.outcome, one.ended_by) for one in ended] == [(canary.name, "rolled_back", "loop")]
        wait_until(lambda: running.manifest().variants == ())
        running.follows()
        assert running.manifest().version == 1
        assert {one["degraded"] == [f"variant_failed:{canary.name}"] for one in running.ask(own[:10], price=None)} == {
            False
        }
        entry = told(home, "ledger", "show", "--kind", "variant.ended", "--limit", "1")[0]
        assert entry["body"]["evidence"]["measures"]["errors"]["harm"] >= 1


def test_a_good_canary_is_promoted_and_a_shadow_scores_and_never_answers(home, tmp_path):
    home = Path(shutil.copytree(home, tmp_path / "home"))
    with up(home) as running:
        told(home, "deploy", "returns:3", "--shadow")
        terms = ["--slow", "0", "--errors", "0.1", "--min-rows", "50", "--min-time", "1s"]
        told(home, "deploy", "returns:3", "--canary", "50%", "--name", "c", *terms)
        running.follows()
        counted = running.ask_each(KEYS)
        assert set(counted) == {"champion", "c"}
        wait_until(lambda: running.manifest().version == 3)
        assert running.manifest().variants == ()
        shadowed = wait_until(lambda: _shadowed(home))
        table = Tables(home / "tables").open("shadows.tiny.returns").read()
        assert set(table["variant"]) == {"v3"}
        assert set(table["model_version"]) == {3}
        assert table["prediction_id"].n_unique() == table.height == shadowed
        answered = Tables(home / "tables").open("predictions.tiny.returns").read()
        assert "v3" not in set(answered["variant"])
        both = answered.join(table.select("prediction_id", shadow_key="_key"), on="prediction_id", how="inner")
        assert both["_key"].to_list() == both["shadow_key"].to_list()
        compared = told(home, "shadow", "returns")
        by_champion = answered.join(table, on="prediction_id", suffix="_s").filter(variant="champion")
        assert compared["rows"] == by_champion.height > 0
        assert compared["mean_absolute"] == pytest.approx((by_champion["score_s"] - by_champion["score"]).abs().mean())
        assert compared["agreed"] == pytest.approx((by_champion["decision_s"] == by_champion["decision"]).mean())
        process = told(home, "endpoints", "--url", running.url, "--token", running.secret)
        assert [one["served"][0]["version"] for one in process["endpoints"]] == [3]
        answers = {one["variant"]: one["predictions"] for one in process["process"] if "became" not in one}
        assert answers == dict(counted)


def _shadowed(home: Path) -> int:
    """How many rows the shadow's table has, once it has any."""
    tables = Tables(home / "tables")
    return tables.open("shadows.tiny.returns").read().height if tables.exists("shadows.tiny.returns") else 0
