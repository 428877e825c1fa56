"""Explanations over HTTP: they add up to the answered score, and what has none says so before anything is logged."""

import json
import math
from pathlib import Path

import pytest

from loopline.models.background import keep_background
from loopline.models.signing import load_signing_key
from loopline.scoring.block import decode
from loopline.scoring.segment import scan
from loopline.storage.artifacts import open_artifacts


@pytest.fixture(scope="module")
def explaining(tmp_path_factory, make_home, start):
    """A home and a scoring process on it, whose model has a background."""
    home = make_home(tmp_path_factory.mktemp("explained"))
    key = load_signing_key(home.path / "keys")
    predictor = home.predictor(1)
    matrix = predictor.signature.encode(home.rows)
    artifacts = open_artifacts(str(home.path / "artifacts"), durable=False)
    digest = keep_background(artifacts, key, package=home.packages[0][0], matrix=matrix, seed=0)
    home.deploy(1, sequence=1, background=digest)
    with start(home) as process:
        yield home, process


def test_contributions_add_up_to_the_score(explaining):
    home, process = explaining
    with process.client() as client:
        answer = client.post("/predict/late", json={"rows": home.requests(5), "explain": True}).json()
        again = client.post("/predict/late", json={"rows": home.requests(5), "explain": True}).json()
    for one, other in zip(answer["predictions"], again["predictions"], strict=True):
        told = one["explanation"]
        total = told["base"] + sum(told["contributions"].values())
        assert 1 / (1 + math.exp(-total)) == pytest.approx(one["score"], abs=1e-6)
        assert told["unit"] == "log_odds"
        assert set(told["contributions"]) == {"distance", "hour", "carrier"}
        assert told["background_rows"] == 100
        assert told == other["explanation"]


def test_who_does_not_ask_is_not_told(explaining):
    home, process = explaining
    with process.client() as client:
        answer = client.post("/predict/late", json={"rows": home.requests(1)}).json()
    assert "explanation" not in answer["predictions"][0]


def test_the_open_inference_protocol_explains_by_a_parameter(explaining):
    home, process = explaining
    rows = home.requests(3)
    tensors = [
        {
            "name": name,
            "shape": [3],
            "datatype": "FP64" if name in {"distance", "hour"} else "BYTES",
            "data": [row[name] for row in rows],
        }
        for name in rows[0]
    ]
    with process.client() as client:
        answer = client.post("/v2/models/late/infer", json={"inputs": tensors, "parameters": {"explain": True}}).json()
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    assert len(outputs["explanation"]) == 3
    for score, text in zip(outputs["score"], outputs["explanation"], strict=True):
        told = json.loads(text)
        assert 1 / (1 + math.exp(-told["base"] - sum(told["contributions"].values()))) == pytest.approx(score, abs=1e-6)


def test_too_many_rows_are_refused_before_they_are_scored(explaining):
    home, process = explaining
    before = spooled(home)
    with process.client() as client:
        answer = client.post("/predict/late", json={"rows": home.requests(101), "explain": True})
    assert (answer.status_code, answer.json()["code"]) == (400, "explain.too_many_rows")
    assert spooled(home) == before


def test_without_a_background_nothing_is_scored_and_a_plain_request_is_answered(own_home, start):
    own_home.deploy(1, sequence=1)
    with start(own_home) as process, process.client() as client:
        refused = client.post("/predict/late", json={"rows": own_home.requests(2), "explain": True})
        assert (refused.status_code, refused.json()["code"]) == (503, "explain.no_background")
        assert spooled(own_home) == 0
        assert client.post("/predict/late", json={"rows": own_home.requests(2)}).status_code == 200
    assert spooled(own_home) == 2


def test_what_the_constant_answers_has_nothing_to_explain(own_home, start):
    own_home.deploy(1, sequence=1, package="", package_envelope="")
    with start(own_home) as process, process.client() as client:
        answer = client.post("/predict/late", json={"rows": own_home.requests(1), "explain": True}).json()
    assert answer["predictions"][0]["variant"] == "fallback"
    assert answer["predictions"][0]["explanation"] is None


def spooled(home) -> int:
    """How many predictions the spools hold."""
    segments = [path for path in (home.path / "spool").rglob("*") if path.is_file()]
    return sum(len(decode(payload)) for path in segments for payload in scan(path.read_bytes())[0])


def test_the_scoring_process_never_loads_what_training_explains_with(explaining):
    home, process = explaining
    with process.client() as client:
        client.post("/predict/late", json={"rows": home.requests(1), "explain": True})
    maps = Path(f"/proc/{process.process.pid}/maps").read_text(encoding="utf-8")
    assert "numba" not in maps
    assert "llvmlite" not in maps


def test_once_the_background_is_erased_nothing_is_explained_any_more(own_home, start):
    key = load_signing_key(own_home.path / "keys")
    matrix = own_home.predictor(1).signature.encode(own_home.rows)
    artifacts = open_artifacts(str(own_home.path / "artifacts"), durable=False)
    digest = keep_background(artifacts, key, package=own_home.packages[0][0], matrix=matrix, seed=0)
    own_home.deploy(1, sequence=1, background=digest)
    with start(own_home) as process, process.client() as client:
        wanted = {"rows": own_home.requests(1), "explain": True}
        assert client.post("/predict/late", json=wanted).status_code == 200
        name = digest.removeprefix("sha256:")
        (own_home.path / "artifacts" / name[:2] / name[2:]).unlink()
        refused = client.post("/predict/late", json=wanted)
        assert (refused.status_code, refused.json()["code"]) == (503, "explain.no_background")
