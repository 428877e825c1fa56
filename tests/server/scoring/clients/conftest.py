"""A process that serves two models over HTTP and gRPC, and other people's clients, each in an environment of its own."""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from loopline.access.secret import secret_digest
from loopline.evaluation.kind import Output
from loopline.models import package as packages
from loopline.models.background import keep_background
from loopline.models.manifest import TokenGrant, write_manifest
from loopline.models.packaging import package
from loopline.models.predictor import load_predictor
from loopline.models.signature import infer
from loopline.models.signing import load_public_keys, load_signing_key, sign
from loopline.storage.artifacts import open_artifacts

ROOT = Path(__file__).parents[4]
VENVS = ROOT / ".venv-clients"
CLIENTS = {
    "triton": ["tritonclient[http,grpc]>=2.60,<3"],
    "kserve": ["kserve>=0.15,<1"],
    "mlflow": ["mlflow-skinny>=3,<4", "pandas>=2,<3", "scipy>=1.13,<2"],
    "schemathesis": ["schemathesis>=4,<5"],
}
SPECIES = ("setosa", "versicolor", "virginica")
GIVEN = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
OPERATOR = "ll_operator"


def client_python(name: str) -> Path:
    """The interpreter of an environment that holds a client; made where it is not there, or holds something else."""
    folder, wanted = VENVS / name, hashlib.sha256(json.dumps([CLIENTS[name], sys.version]).encode()).hexdigest()
    stamp, python = folder / ".installed", folder / "bin" / "python"
    VENVS.mkdir(exist_ok=True)
    with (VENVS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not stamp.exists() or stamp.read_text() != wanted:
            uv = str(Path(sys.executable).parent / "uv")
            subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True)
            subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *CLIENTS[name]], check=True)
            stamp.write_text(wanted)
    return python


@dataclass(frozen=True)
class Served:
    """What is served: endpoint `late` takes columns, numbers and text; `iris` takes four numbers and fills key and time."""

    home: object
    process: object
    iris: np.ndarray
    probabilities: np.ndarray
    scores: np.ndarray
    rows: list[dict]

    def run(self, client: str, script: str, **more: str):
        """What a script prints as JSON, run by the client's own interpreter."""
        environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "HTTP": f"127.0.0.1:{self.process.port}",
            "GRPC": f"127.0.0.1:{self.process.grpc_port}",
            "TOKEN": "ll_all",
            "OPERATOR": OPERATOR,
            "ROWS": json.dumps(self.rows),
            "IRIS": json.dumps(self.iris.tolist()),
            **more,
        }
        command = [str(client_python(client)), "-W", "ignore", "-c", script]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout.splitlines()[-1])


def packaged_iris(path: Path):
    measured, species = load_iris(return_X_y=True)
    frame = pl.DataFrame(measured, schema=GIVEN)
    signature = infer(frame, species, set(GIVEN), Output("multiclass", SPECIES))
    matrix = signature.encode(frame)
    artifacts = open_artifacts(str(path / "artifacts"), durable=False)
    model = LogisticRegression(max_iter=500).fit(matrix, species)
    content = package(model, signature, matrix[:50], calibrator=None, artifacts=artifacts).encoded()
    envelope = artifacts.put(sign(load_signing_key(path / "keys"), packages.PAYLOAD_TYPE, content))
    digest = artifacts.put(content)
    keys = load_public_keys(path / "keys")
    predictor = load_predictor(artifacts, digest, envelope=artifacts.get(envelope), keys=keys)
    background = keep_background(artifacts, load_signing_key(path / "keys"), package=digest, matrix=matrix, seed=0)
    return (digest, envelope, background), measured.astype(np.float32), predictor.outputs(matrix)


def deploy_both(home, digests):
    """A manifest with both endpoints, and a token that may act."""
    manifest = home.deploy(1, sequence=1)
    [late] = manifest.deployments
    decision = {
        "type": "choice",
        "classes": SPECIES,
        "costs": [[0, 1, 1], [1, 0, 1], [1, 1, 0]],
        "review": 1,
        "price": None,
    }
    iris = msgspec.structs.replace(
        late,
        endpoint="iris",
        model="iris",
        version=3,
        package=digests[0],
        package_envelope=digests[1],
        background=digests[2],
        decision=decision,
        key="row",
        at="when",
        fallback=(1 / 3, 1 / 3, 1 / 3),
        output=Output("multiclass", SPECIES),
        fills=True,
    )
    permitted = ["incidents:act", "models:read", "predictions:create"]
    operator = TokenGrant(digest=secret_digest(OPERATOR), principal="operator", permissions=permitted)
    both = msgspec.structs.replace(manifest, sequence=2, deployments=[late, iris], tokens=[*manifest.tokens, operator])
    write_manifest(home.path / "manifests" / "flights.json", both, load_signing_key(home.path / "keys"))


@pytest.fixture(scope="session")
def served(tmp_path_factory, make_home, start):
    """Both models, served over HTTP and gRPC."""
    home = make_home(tmp_path_factory.mktemp("clients"))
    digests, measured, probabilities = packaged_iris(home.path)
    deploy_both(home, digests)
    chosen = np.arange(0, 150, 10)
    with start(home, grpc=True) as process:
        yield Served(
            home,
            process,
            measured[chosen],
            probabilities[chosen],
            home.predictor(1).predict(home.rows.head(20)),
            home.requests(20),
        )


@pytest.fixture(scope="session")
def client_of():
    """The interpreter of a client's environment."""
    return client_python
