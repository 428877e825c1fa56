"""A home with one endpoint, whose versions differ by a number: each answer tells by its score which version gave it."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import onnx

from loopline.access.permissions import Permission
from loopline.access.secret import secret_digest
from loopline.app.home import open_home
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.decisions.policy import Decision
from loopline.gates.promotion import promote, roll_back
from loopline.models import registry
from loopline.models.manifest import Deployment, Manifest, TokenGrant, write_manifest
from loopline.models.package import PAYLOAD_TYPE, ModelPackage, Parity
from loopline.models.signature import Field, Signature
from loopline.models.signing import sign

PROJECT, ENDPOINT, ACTOR = "soak", "even", "soak"
SECRET = "ll_of-the-soak-and-of-nothing-else"  # a home of its own, gone when the soak is
FIELDS = ("a", "b")
WEIGHTS = (0.7, -0.4)

_BIAS = 0.05


def expected(version: int, row: tuple[float, float]) -> float:
    """What `version` says to a row, by arithmetic alone."""
    logit = WEIGHTS[0] * row[0] + WEIGHTS[1] * row[1] + _BIAS * version
    return float(1 / (1 + np.exp(-logit)))


@dataclass
class Reign:
    """When a version was in force, by `time.monotonic`: from just before it was published until just after the next was."""

    version: int
    since: float
    until: float | None = None


@dataclass
class Site:
    """The control side: registers, promotes, rolls back, publishes. `reigns` is its history."""

    settings: Settings
    reigns: list[Reign] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.resources = open_home(self.settings, silent=True)
        self._clock = SystemClock()
        self._sequence = 0

    def swap(self) -> int:
        """Register another version and make it the champion; gives its number."""
        number = len({reign.version for reign in self.reigns}) + 1
        package, envelope = self._package(number)
        now = self._clock.now()
        with self.resources.database.transaction() as tx:
            found = registry.register_version(
                tx, project=PROJECT, model=ENDPOINT, package=package, envelope=envelope, run_id=None, lineage={},
                metrics={}, at=now, cause=f"soak:{number}", created_by=ACTOR,
            )  # fmt: skip
            promote(
                tx, project=PROJECT, model=ENDPOINT, version=found.version, actor=ACTOR, at=now, evidence={},
                key=f"soak:{number}",
            )  # fmt: skip
        self._publish(found.version)
        return found.version

    def roll_back(self) -> int:
        """Bring back the champion before the present one; gives its number."""
        with self.resources.database.transaction() as tx:
            _, version = roll_back(
                tx, project=PROJECT, model=ENDPOINT, actor=ACTOR, at=self._clock.now(), evidence={},
                key=f"soak:back:{len(self.reigns)}",
            )  # fmt: skip
        self._publish(version)
        return version

    def _package(self, number: int) -> tuple[str, str]:
        artifacts = self.resources.artifacts
        signature = Signature(fields=tuple(Field(name=name, kind="number", given=True) for name in FIELDS))
        parity = Parity(rows=0, cases={}, thresholds=0, thresholds_checked=0, max_abs_difference=0.0, tolerance=0.0)
        made = ModelPackage(
            models=(artifacts.put(_model(number)),),
            signature=signature,
            calibrator=None,
            takes_missing=False,
            parity=parity,
            libraries={},
        )
        artifacts.put(made.encoded())
        return made.digest, artifacts.put(sign(self.resources.key, PAYLOAD_TYPE, made.encoded()))

    def _publish(self, version: int) -> None:
        with self.resources.database.reading() as tx:
            found = registry.get_version(tx, PROJECT, ENDPOINT, version)
        deployment = Deployment(
            endpoint=ENDPOINT,
            model=ENDPOINT,
            version=version,
            package=found.package,
            package_envelope=found.envelope,
            decision=msgspec.to_builtins(Decision(0.5, 0.5, 0.25, 0.5, 0.5, 0.5)),
            decision_version=1,
            views=[],
            key="key",
            at="at",
        )
        permitted = [str(Permission.PREDICTIONS_CREATE)]
        grant = TokenGrant(digest=secret_digest(SECRET), principal="caller", permissions=permitted)
        self._sequence += 1
        made = Manifest(
            project=PROJECT,
            sequence=self._sequence,
            created_at=self._clock.now(),
            deployments=[deployment],
            tokens=[grant],
        )
        began = time.monotonic()
        write_manifest(self.settings.manifests_path / f"{PROJECT}.json", made, self.resources.key)
        if self.reigns:
            self.reigns[-1].until = time.monotonic()
        self.reigns.append(Reign(version, began))


def settings_of(home: Path, port: int, workers: int) -> Settings:
    """A home of its own, with as many workers. Not durable: processes are killed here, not the machine."""
    return Settings(
        home=home,
        database_url=f"sqlite:///{home / 'loopline.db'}",
        artifacts_url=str(home / "artifacts"),
        tables_url=str(home / "tables"),
        durable=False,
        scoring_port=port,
        workers=workers,
    )


def _model(number: int) -> bytes:
    """A logistic regression in ONNX."""
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Gemm", ["input", "weights", "bias"], ["logit"]),
            onnx.helper.make_node("Sigmoid", ["logit"], ["probability"]),
        ],
        "even",
        [onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [None, len(FIELDS)])],
        [onnx.helper.make_tensor_value_info("probability", onnx.TensorProto.FLOAT, [None, 1])],
        [
            onnx.numpy_helper.from_array(np.array(WEIGHTS, dtype=np.float32)[:, None], "weights"),
            onnx.numpy_helper.from_array(np.array([_BIAS * number], dtype=np.float32), "bias"),
        ],
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())
