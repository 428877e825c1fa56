"""Who is measured: how each is installed, started and asked, and what is inside it."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serving.model import FIELDS
from serving.running import Ask, Running

Matrix = npt.NDArray[np.float32]
Asker = Callable[[Running, Matrix], Ask]

APPS = Path(__file__).parent / "apps"
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Place:
    """Where a server starts: its Python, the folder of the model, a folder of its own, its port."""

    python: Path
    model: Path
    own: Path
    port: int


@dataclass(frozen=True)
class Contestant:
    """`forms` are the ways it is asked in; `scores` reads the answer; `worker` marks its workers' command lines;
    `peer` is what a peer has inside, empty for us and for the limits.
    """

    name: str
    title: str
    inside: str
    command: Callable[[Place], list[str]]
    forms: Mapping[str, Asker]
    scores: Callable[[bytes], list[float]]
    packages: tuple[str, ...] = ()
    prepare: Callable[[Place], list[str]] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    worker: str = ""
    peer: str = "onnx"

    def first(self, asker: Asker) -> bool:
        """Whether it is asked so first, when it may still be loading its model."""
        return asker is next(iter(self.forms.values()))

    @property
    def package(self) -> str:
        """The package that it is named for: the first of its packages, without its bounds."""
        return self.packages[0].partition(">")[0].partition("[")[0] if self.packages else ""


# ---------------------------------------------------------------- how to ask


def matrix_of_rows(path: str, field_name: str) -> Asker:
    """A body of the bare matrix: what is shortest for the peers."""
    return lambda _, matrix: Ask(path, JSON, json.dumps({field_name: matrix.tolist()}).encode())


def objects(path: str) -> Asker:
    """A body of rows that name their fields."""
    return lambda _, matrix: Ask(path, JSON, json.dumps({"rows": _rows(matrix)}).encode())


def tensor(path: str) -> Asker:
    """Open Inference Protocol: one tensor of the whole matrix."""

    def ask(_: Running, matrix: Matrix) -> Ask:
        one = {"name": "input", "shape": list(matrix.shape), "datatype": "FP32", "data": matrix.ravel().tolist()}
        return Ask(path, JSON, json.dumps({"inputs": [one]}).encode())

    return ask


def ours(running: Running, matrix: Matrix) -> Ask:
    return Ask("/predict/model", {**JSON, **_token(running)}, json.dumps({"rows": _rows(matrix)}).encode())


def ours_binary(running: Running, matrix: Matrix) -> Ask:
    """One FP32 matrix, its bytes behind the JSON header; the score alone is asked for, in binary too."""
    shape, size = list(matrix.shape), 4 * matrix.size
    inputs = [{"name": "rows", "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": size}}]
    outputs = [{"name": "score", "parameters": {"binary_data": True}}]
    header = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(header))}
    return Ask("/v2/models/model/infer", {**headers, **_token(running)}, header + matrix.astype("<f4").tobytes())


def _token(running: Running) -> dict[str, str]:
    return {"Authorization": f"Bearer {running.told()['token']}"}


def _rows(matrix: Matrix) -> list[dict[str, float]]:
    return [dict(zip(FIELDS, row, strict=True)) for row in matrix.tolist()]


# ---------------------------------------------------------------- how to read the answer


def our_scores(body: bytes) -> list[float]:
    found, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))  # binary tensors lie behind the JSON
    if "outputs" in found:
        scores: list[float] = np.frombuffer(body[end:], "<f8").tolist()
        return scores
    return [one["score"] for one in found["predictions"]]


def listed(*path: str | int) -> Callable[[bytes], list[float]]:
    """The scores at a path in the JSON."""

    def read(body: bytes) -> list[float]:
        found = json.loads(body)
        for step in path:
            found = found[step]
        return list(np.asarray(found, dtype=float).reshape(-1))

    return read


def mlflow_scores(body: bytes) -> list[float]:
    found = json.loads(body)["predictions"]
    return [one[1] for one in (found["probabilities"] if isinstance(found, dict) else found)]


# ---------------------------------------------------------------- how to start


def _script(name: str) -> Callable[[Place], list[str]]:
    return lambda place: [str(place.python), str(APPS / name), str(place.model), str(place.port)]


def _loopline(place: Place) -> list[str]:
    model = ["model.onnx", "--sample", "rows.parquet"]
    paths = [str(place.model / part) if "." in part else part for part in model]
    serve = [str(Path(sys.executable).parent / "loopline"), "serve", *paths]
    return [*serve, "--home", str(place.own / "home"), "--port", str(place.port), "--json"]


def _mlflow(place: Place, inside: str) -> list[str]:
    saved = str(place.model / f"saved-{inside}")
    serve = [str(place.python.parent / "mlflow"), "models", "serve", "--model-uri", saved]
    return [*serve, "--port", str(place.port), "--env-manager", "local", "--workers", "1"]


def _bentoml(place: Place) -> list[str]:
    serve = [str(place.python.parent / "bentoml"), "serve", "bento_service:Scorer", "--working-dir", str(APPS)]
    return [*serve, "--port", str(place.port)]


def _mlserver(place: Place) -> list[str]:
    settings = {
        "http_port": place.port,
        "grpc_port": place.port + 1,
        "metrics_endpoint": None,
        "parallel_workers": 0,
        "debug": False,
    }
    (place.own / "settings.json").write_text(json.dumps(settings))
    model = {"name": "model", "implementation": "mlserver_runtime.Scorer"}
    (place.own / "model-settings.json").write_text(json.dumps(model))
    return [str(place.python.parent / "mlserver"), "start", "."]


LIMIT = Contestant(
    "barest",
    "limit: the barest ASGI app",
    "uvicorn (uvloop, httptools), msgspec, ONNX Runtime",
    _script("barest.py"),
    {"JSON": objects("/")},
    listed("scores"),
    peer="",
)
OURS = Contestant(
    "loopline",
    "Loopline",
    "ONNX Runtime; contract, token, log: a record survives the death of every process",
    _loopline,
    {"JSON": ours, "binary": ours_binary},
    our_scores,
    worker="loopline.server.scoring",
    peer="",
)
SYNCED = replace(
    OURS,
    name="loopline-synced",
    title="Loopline, LOOPLINE_SYNC_PREDICTIONS=1",
    inside="the same; a record survives the death of the machine (fsync)",
    environment={"LOOPLINE_SYNC_PREDICTIONS": "1"},
)


def peers(inside: str) -> tuple[Contestant, ...]:
    """The peers, each with the model `inside`: "sklearn" or "onnx"."""
    called = {"sklearn": "scikit-learn", "onnx": "ONNX Runtime"}[inside]
    environment = {"BENCH_INSIDE": inside, "PYTHONPATH": str(APPS)}
    made = (
        Contestant(
            "mlflow",
            "mlflow models serve",
            f"its flavour for {called}, one worker",
            lambda place: _mlflow(place, inside),
            {"JSON": matrix_of_rows("/invocations", "inputs")},
            mlflow_scores,
            packages=("mlflow>=3.4,<4", "onnx>=1.17"),
            prepare=_script("mlflow_model.py"),
            environment={"UVICORN_ACCESS_LOG": "0", "UVICORN_LOG_LEVEL": "error"},
        ),
        Contestant(
            "mlserver",
            "MLServer",
            f"{called} in a runtime of one's own, no parallel workers (faster so)",
            _mlserver,
            {"JSON": tensor("/v2/models/model/infer")},
            listed("outputs", 0, "data"),
            # A newer uvloop ends it at its start: it asks for an event loop that is not there yet.
            packages=("mlserver>=1.7,<1.8", "uvloop<0.22"),
        ),
        Contestant(
            "bentoml",
            "BentoML",
            f"{called} in a coroutine, one worker",
            _bentoml,
            {"JSON": matrix_of_rows("/predict", "rows")},
            listed(),
            packages=("bentoml>=1.4.20,<1.5",),
            environment={"BENTOML_DO_NOT_TRACK": "True"},
        ),
        Contestant(
            "ray",
            "Ray Serve",
            f"{called} in a coroutine, one replica",
            _script("ray_serve.py"),
            {"JSON": matrix_of_rows("/", "rows")},
            listed(),
            packages=("ray[serve]>=2.50,<3",),
            environment={"RAY_USAGE_STATS_ENABLED": "0"},
        ),
        Contestant(
            "litserve",
            "LitServe",
            f"{called}, one worker",
            _script("lit_app.py"),
            {"JSON": matrix_of_rows("/predict", "rows")},
            listed("scores"),
            packages=("litserve>=0.2.15,<0.3",),
        ),
    )
    return tuple(replace(one, peer=inside, environment={**one.environment, **environment}) for one in made)
