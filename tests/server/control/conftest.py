"""A small home with an applied loop, two versions of a model, predictions, an incident and a table about persons."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from litestar.testing import TestClient
from sklearn.ensemble import HistGradientBoostingClassifier

import loopline as ll
from loopline.access.principals import create_principal
from loopline.access.tokens import issue_token
from loopline.app.home import open_home
from loopline.clock import ReplayClock, SystemClock
from loopline.config import Settings
from loopline.decisions.policy import fit
from loopline.gates.promotion import promote
from loopline.incidents import incident
from loopline.incidents.actions import Cause
from loopline.loop.declare import Loop
from loopline.loop.deployment import put_decision
from loopline.loop.plan import apply
from loopline.loop.resources import Resources
from loopline.models import registry
from loopline.models.package import PAYLOAD_TYPE
from loopline.models.packaging import package
from loopline.models.signature import infer
from loopline.models.signing import sign
from loopline.runs import tracking
from loopline.scoring.block import Block
from loopline.scoring.block_frame import prediction_frame
from loopline.scoring.record import Prediction, prediction_schema, prediction_table
from loopline.server.control.app import control_app
from loopline.server.control.edge import Edge
from loopline.tables import TableSchema

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
PROJECT, MODEL = "flights", "late"
PLACE = f"/api/v1/projects/{PROJECT}"
HOST = "loopline.local"
SIGNATURE = infer(pl.DataFrame({"distance": [100.0, 5000.0, None]}), None, {"distance"})


@dataclass
class Served:
    """A home behind its control plane."""

    resources: Resources
    app: Edge
    client: TestClient

    def token(self, *permissions: str, principal: str = "ann") -> dict[str, str]:
        """The header of a token that permits just this."""
        now = SystemClock().now()
        with self.resources.database.transaction() as tx:
            secret, _ = issue_token(
                tx, principal, scopes=permissions, expires_at=now + timedelta(hours=1), at=now, name="test"
            )
        return {"authorization": f"Bearer {secret}"}


@pytest.fixture(scope="session")
def built_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home's folder, to be copied and not to be changed."""
    folder = tmp_path_factory.mktemp("control") / "home"
    resources = _open(folder)
    apply(resources.database, _loop(), actor="ann", at=NOW)
    _register(resources)
    _predict(resources)
    _note(resources)
    resources.database.close()
    return folder


@pytest.fixture
def served(built_home: Path, tmp_path: Path) -> Iterator[Served]:
    """A fresh copy of the home, served."""
    with _serving(built_home, tmp_path / "home") as made:
        yield made


@pytest.fixture(scope="module")
def shared(built_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A copy of the home that several tests look at and none changes."""
    with _serving(built_home, tmp_path_factory.mktemp("shared") / "home") as made:
        yield made


@contextmanager
def _serving(built: Path, folder: Path) -> Iterator[Served]:
    shutil.copytree(built, folder)
    resources = _open(folder)
    app = control_app(resources, hosts={HOST})
    with TestClient(app, base_url=f"http://{HOST}") as client:
        yield Served(resources, app, client)
    resources.database.close()


def _open(folder: Path) -> Resources:
    return open_home(Settings.read(folder, {"LOOPLINE_DURABLE": "0"}), clock=ReplayClock(NOW))


def _loop() -> Loop:
    loop = Loop(PROJECT)

    @loop.source(key="flight", event_time="at", known_at="at")
    def arrivals(window: ll.Window) -> pl.DataFrame:
        raise NotImplementedError

    @loop.model(on=arrivals, at="at", features=["distance"], label=ll.label(arrivals, pl.col("late"), matures="2d"))
    def late(train: ll.TrainingSet, params: dict) -> HistGradientBoostingClassifier:
        raise NotImplementedError

    loop.operate(
        late,
        decide=ll.costs(false_positive=1, false_negative=4),
        promote=[ll.better("log_loss")],
        watch=ll.Risk("log_loss", tolerance=0.01, block="1d", false_pages_per_year=1),
    )
    return loop


def _register(resources: Resources) -> None:
    """Versions 1 and 2, of which 1 is the champion."""
    rows = np.random.default_rng(5).uniform(100, 5000, size=(200, 1)).astype(np.float32)
    decision = msgspec.to_builtins(fit(ll.costs(false_positive=1, false_negative=4), [0.1, 0.4, 0.9]))
    for version in (1, 2):
        estimator = HistGradientBoostingClassifier(max_iter=3, random_state=version)
        estimator.fit(rows, rows[:, 0] > 2000 + 500 * version)
        made = package(estimator, SIGNATURE, rows, calibrator=None, artifacts=resources.artifacts)
        envelope = resources.artifacts.put(sign(resources.key, PAYLOAD_TYPE, made.encoded()))
        with resources.database.transaction() as tx:
            registry.register_version(
                tx,
                project=PROJECT,
                model=MODEL,
                package=made.digest,
                envelope=envelope,
                run_id="run_1",
                lineage={"decision": decision},
                metrics={"log_loss": 0.4},
                at=NOW,
                cause=f"train {version}",
                created_by="loop",
            )
    with resources.database.transaction() as tx:
        put_decision(tx, PROJECT, MODEL, decision, Cause(key="first", sentence="first", actor="loop", at=NOW))
        evidence = {"cause": "first"}
        promote(tx, project=PROJECT, model=MODEL, version=1, actor="loop", at=NOW, evidence=evidence, key="first")


def _predict(resources: Resources) -> None:
    predictions = [
        Prediction(
            prediction_id=f"pr_{number}",
            project=PROJECT,
            endpoint=MODEL,
            model=MODEL,
            model_version=1,
            decision_version=1,
            variant="champion",
            key=f"flight {number}",
            at=NOW - timedelta(hours=number),
            scored_at=NOW - timedelta(hours=number),
            score=number / 10,
            decision="negative",
            numbers={"distance": 100.0 * number},
        )
        for number in range(5)
    ]
    table = resources.tables.create(prediction_table(PROJECT, MODEL), prediction_schema(SIGNATURE))
    for number, one in enumerate(predictions):
        table.append(prediction_frame([Block.of(one)]), writer="spool", sequence=number)


def _note(resources: Resources) -> None:
    """An incident, a run, a table about persons, and a principal who may do anything."""
    table = resources.tables.create("flights.crew", TableSchema({"name": pl.String, "hours": pl.Int64}, ("name",)))
    row = {"_key": "c1", "_event_time": NOW, "_known_at": NOW, "_tombstone": False, "name": "Ann Other", "hours": 7}
    table.append(pl.DataFrame([row], schema=table.schema.all_columns), writer="test", sequence=1)
    with resources.database.transaction() as tx:
        create_principal(tx, "ann", "person", ["admin"], NOW)
        tracking.start(tx, project=PROJECT, experiment="late", run_id="run_1", at=NOW)
        tracking.log_metrics(tx, "run_1", {"log_loss": float("nan")})
        incident.open_or_join(
            tx,
            project=PROJECT,
            model=MODEL,
            kind="harm",
            alarm="alarm_1",
            at=NOW,
            sentence="The loss rose <b>a lot</b>.",
            diagnosis=[],
        )
