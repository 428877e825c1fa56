"""A model file is served from the command line, and answers as its own library does."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import lightgbm
import numpy as np
import polars as pl
import pytest
import skops.io
import xgboost
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression

from loopline.app.alone.model_file import Asked, format_of, read_model
from loopline.errors import InvalidInput, LooplineError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(400, 3)).astype(np.float32)
TWO, THREE, VALUE = (X[:, 0] > 0).astype(int), np.digitize(X[:, 0], [-0.5, 0.5]), 10 * X[:, 0] + X[:, 1]
SAMPLE = pl.DataFrame({"order": [f"o{i}" for i in range(400)], "a": X[:, 0], "b": X[:, 1], "c": X[:, 2]})
QUIET = {"verbose": -1, "n_estimators": 10}
FEATURES = Asked(features=("a", "b", "c"))


def onnx(model, **options) -> bytes:
    return to_onnx(
        model, X[:1], target_opset={"": 18, "ai.onnx.ml": 3}, options={id(model): options}
    ).SerializeToString()


def saved(booster, path: Path) -> bytes:
    booster.save_model(path)
    return path.read_bytes()


def files(folder: Path) -> dict[str, tuple[bytes, str, np.ndarray]]:
    logistic = LogisticRegression().fit(X, TWO)
    forest = RandomForestClassifier(5, random_state=0).fit(X, THREE)
    value = RandomForestRegressor(5, random_state=0).fit(X, VALUE)
    light = lightgbm.LGBMClassifier(**QUIET).fit(X, THREE)
    gradient = xgboost.XGBClassifier(n_estimators=5).fit(X, TWO)
    ranker = lightgbm.LGBMRanker(**QUIET).fit(X, THREE, group=[20] * 20)
    classes = xgboost.XGBClassifier(n_estimators=5).fit(X, THREE)
    two = logistic.predict_proba(X)[:, 1]
    return {
        "zipmap.onnx": (onnx(logistic), "binary", two),
        "plain.onnx": (onnx(logistic, zipmap=False), "binary", two),
        "columns.onnx": (onnx(forest), "multiclass", forest.predict_proba(X)),
        "value.onnx": (to_onnx(value, X[:1], target_opset=18).SerializeToString(), "regression", value.predict(X)),
        "light.txt": (saved(light.booster_, folder / "l.txt"), "multiclass", light.predict_proba(X)),
        "rank.txt": (saved(ranker.booster_, folder / "r.txt"), "ranking", ranker.predict(X)),
        "two.json": (saved(gradient, folder / "x.json"), "binary", gradient.predict_proba(X)[:, 1]),
        "two.ubj": (saved(gradient, folder / "x.ubj"), "binary", gradient.predict_proba(X)[:, 1]),
        "three.ubj": (saved(classes, folder / "y.ubj"), "multiclass", classes.predict_proba(X)),
        "forest.skops": (skops.io.dumps(forest), "multiclass", forest.predict_proba(X)),
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    made = files(folder)
    for name, (content, _, _) in made.items():
        (folder / name).write_bytes(content)
    return folder, made


NAMES = [
    "zipmap.onnx",
    "plain.onnx",
    "columns.onnx",
    "value.onnx",
    "light.txt",
    "rank.txt",
    "two.json",
    "two.ubj",
    "three.ubj",
    "forest.skops",
]


@pytest.mark.parametrize("name", NAMES)
def test_format_kind_and_scores_are_found_in_the_file(models, name):
    folder, made = models
    _, kind, expected = made[name]
    found = read_model(folder / name, SAMPLE, ("order",), Asked())
    assert found.signature.output.kind == kind
    scores = found.signature.output.shaped(found.runtime.outputs(found.signature.encode(SAMPLE)))
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


def test_lightgbm_keeps_its_categories_as_pandas_named_them(tmp_path):
    pandas = pytest.importorskip("pandas")
    shop = RNG.choice(["é", "north", "a b"], 400)
    frame = pandas.DataFrame({"a": X[:, 0], "shop": pandas.Categorical(shop)})
    model = lightgbm.LGBMClassifier(**QUIET).fit(frame, (shop == "é").astype(int))
    model.booster_.save_model(tmp_path / "m.txt")
    sample = pl.DataFrame({"a": X[:, 0], "shop": shop})
    found = read_model(tmp_path / "m.txt", sample, (), Asked())
    expected = model.predict_proba(frame)[:, 1]
    np.testing.assert_allclose(found.runtime.outputs(found.signature.encode(sample)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"\x80\x04pickle", "serve.pickle"), (b"nothing", "model.unreadable"), (b"PK\x03\x04", "model.unreadable")],
)
def test_what_is_no_model_is_refused(tmp_path, content, code):
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(LooplineError) as caught:
        read_model(tmp_path / "m", SAMPLE, (), Asked())
    assert caught.value.code == code


def test_columns_that_do_not_fit_are_told_with_the_way_out(models):
    folder, _ = models
    cases = [
        (SAMPLE, (), Asked(), "serve.text_columns"),
        (SAMPLE.drop("order", "c"), (), Asked(), "model.rows_refused"),
        (SAMPLE, (), Asked(features=("a", "x", "c")), "serve.missing_columns"),
    ]
    for sample, apart, asked, code in cases:
        with pytest.raises(InvalidInput) as caught:
            read_model(folder / "plain.onnx", sample, apart, asked)
        assert caught.value.code == code
        assert "--features" in caught.value.remedy
    assert format_of(b"tree\nversion=v4") == "lightgbm"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_it_is_served_signed_authenticated_and_logged(models, tmp_path):
    folder, made = models
    SAMPLE.write_parquet(tmp_path / "sample.parquet")
    port = free_port()
    command = [sys.executable, "-c", "from loopline.cli.main import main; main()", "serve", str(folder / "two.json")]
    command += ["--sample", str(tmp_path / "sample.parquet"), "--without", "order", "--name", "orders"]
    command += ["--home", str(tmp_path / "home"), "--port", str(port), "--json"]
    environment = {**os.environ, "LOOPLINE_DURABLE": "0"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            served = json.loads(document(process))
            rows = SAMPLE.head(20).drop("order").to_dicts()
            with httpx.Client(base_url=served["url"], timeout=30) as client:
                assert client.post("/predict/orders", json={"rows": rows}).status_code == 401
                client.headers["authorization"] = f"Bearer {served['token']}"
                answers = client.post("/predict/orders", json={"rows": rows}).json()["predictions"]
                keyed = client.post("/predict/orders", json={"rows": [{"key": "mine", **rows[0]}]}).json()[
                    "predictions"
                ]
                tensors = [
                    {"name": name, "shape": [20], "datatype": "FP32", "data": [row[name] for row in rows]}
                    for name in ("a", "b", "c")
                ]
                inferred = client.post("/v2/models/orders/infer", json={"inputs": tensors}).json()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
    expected = made["two.json"][2][:20]
    np.testing.assert_allclose([answer["score"] for answer in answers], expected, atol=1e-6)
    scores = next(one["data"] for one in inferred["outputs"] if one["name"] == "score")
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert keyed[0]["key"] == "mine"
    logged = pl.read_parquet(f"{served['predictions']}/**/*.parquet")
    assert logged.height == 41
    assert set(logged["prediction_id"]) >= {answer["prediction_id"] for answer in [*answers, *keyed]}
    assert (tmp_path / "home" / "serve" / "orders" / "serve.json").exists()


def serving(models, tmp_path, port: int, **options) -> subprocess.Popen:
    SAMPLE.write_parquet(tmp_path / "sample.parquet")
    command = [sys.executable, "-c", "from loopline.cli.main import main; main()", "serve", str(models[0] / "two.json")]
    command += ["--sample", str(tmp_path / "sample.parquet"), "--without", "order", "--name", "orders"]
    command += ["--home", str(tmp_path / "home"), "--port", str(port), "--json"]
    return subprocess.Popen(command, text=True, env={**os.environ, "LOOPLINE_DURABLE": "0"}, **options)


def test_a_port_that_something_listens_on_is_told_and_not_taken_for_ours(models, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with serving(models, tmp_path, taken.getsockname()[1], stdout=subprocess.PIPE) as process:
            assert process.wait(60) == 4
            assert json.loads(process.stdout.read())["error"]["code"] == "up.port_taken"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_told_to_end_before_it_is_ready_it_leaves_nothing_running(models, tmp_path, number):
    port = free_port()
    held = tmp_path / "home" / "serve" / "orders" / "log" / f"scoring-{port}.pid"
    with serving(models, tmp_path, port, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 60
        while not (held.exists() and held.read_text()) and time.monotonic() < until:
            time.sleep(0.01)
        child = int(held.read_text())
        process.send_signal(number)
        assert process.wait(60) != 0
    assert not Path(f"/proc/{child}").exists()


def document(process: subprocess.Popen) -> str:
    text, until = "", time.monotonic() + 60
    while time.monotonic() < until:
        text += process.stdout.readline()
        if text.endswith("}\n") and text.count("{") == text.count("}"):
            return text
    raise AssertionError(text)
