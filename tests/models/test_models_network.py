"""Networks in safetensors: read by the library of that name, run as ONNX as NumPy and torch compute them."""

import json
import struct

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopline.app.alone.model_file import Asked, format_of, read_model
from loopline.errors import Corrupt, InvalidInput
from loopline.evaluation.kind import Output
from loopline.models.network import Layer, Network, network_of, read_network, save_network
from loopline.models.packaging import package
from loopline.models.runtimes.safetensors import SafetensorsModel
from loopline.models.signature import infer

RNG = np.random.default_rng(8)
X = RNG.normal(size=(200, 4)).astype(np.float32)
FRAME = pl.DataFrame(X, schema=["a", "b", "c", "d"])
ACTIVATIONS = ["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
WIDE = Output("multioutput", targets=("0", "1", "2"))


def linear(place: int, inputs: int, outputs: int, weights: dict) -> Layer:
    weights[f"{place}.weight"] = RNG.normal(size=(outputs, inputs)).astype(np.float32)
    weights[f"{place}.bias"] = RNG.normal(size=outputs).astype(np.float32)
    return Layer("linear", (f"{place}.weight", f"{place}.bias"))


def normed(place: int, op: str, width: int, weights: dict) -> Layer:
    names = ["weight", "bias", *(["mean", "variance"] if op == "batch_norm" else [])]
    for name in names:
        weights[f"{place}.{name}"] = RNG.uniform(0.5, 2, size=width).astype(np.float32)
    return Layer(op, tuple(f"{place}.{name}" for name in names), 1e-5)


def network(ops: list[str], last: str = "", width: int = 3) -> Network:
    weights: dict[str, np.ndarray] = {}
    layers = [linear(0, 4, 6, weights)]
    for place, op in enumerate(ops, start=1):
        known = op in ACTIVATIONS
        layers.append(Layer(op, (), 0.3) if known else normed(place, op, 6, weights))
    layers.append(linear(99, 6, width, weights))
    return Network((*layers, *([Layer(last)] if last else [])), weights)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([*ACTIVATIONS, "batch_norm", "layer_norm"]), max_size=5))
def test_as_onnx_it_gives_what_numpy_computes(ops):
    made = network(ops)
    content = made.to_safetensors()
    expected = made.outputs(X)
    found = SafetensorsModel(content, WIDE).outputs(X)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5 * np.abs(expected).max())
    assert read_network(content).to_safetensors() == content


def test_the_file_is_safetensors_to_the_library_of_that_name():
    library = pytest.importorskip("safetensors.numpy")
    made = network(["relu", "batch_norm"])
    found = library.load(made.to_safetensors())
    assert set(found) == set(made.weights)
    for name, array in made.weights.items():
        np.testing.assert_array_equal(found[name], array)
    told = {"loopline.layers": json.dumps([{"op": "linear", "tensors": ["w", "b"]}])}
    theirs = library.save({"w": np.eye(3, 4, dtype=np.float64), "b": np.arange(3, dtype=np.float16)}, metadata=told)
    np.testing.assert_allclose(read_network(theirs).outputs(X), X[:, :3] + [0, 1, 2], rtol=1e-6)


@pytest.mark.parametrize(
    ("last", "width", "output"),
    [
        ("sigmoid", 1, Output()),
        ("softmax", 2, Output()),
        ("softmax", 3, Output("multiclass", ("0", "1", "2"))),
        ("", 1, Output("regression")),
        ("", 3, WIDE),
    ],
)
def test_a_file_says_what_kind_it_is(tmp_path, last, width, output):
    made = network(["gelu"], last, width)
    (tmp_path / "m.safetensors").write_bytes(made.to_safetensors())
    found = read_model(tmp_path / "m.safetensors", FRAME, (), Asked())
    assert (found.format, found.signature.output, found.takes_missing) == ("safetensors", output, False)
    expected = made.outputs(X)
    expected = expected[:, -1] if output.kind in {"binary", "regression"} else expected
    np.testing.assert_allclose(found.runtime.outputs(X), expected, rtol=1e-4, atol=1e-5)


def test_what_is_no_network_is_refused():
    whole = network(["relu"]).to_safetensors()
    assert format_of(whole) == "safetensors"
    for content in (b"", b"12345678", whole[:40], whole[:-4], struct.pack("<Q", 2) + b"[]"):
        with pytest.raises((Corrupt, InvalidInput)):
            read_network(content)
    bare = struct.pack("<Q", 2) + b"{}"
    with pytest.raises(InvalidInput, match="without a description"):
        read_network(bare)
    weights: dict[str, np.ndarray] = {}
    for layers in [
        (linear(0, 4, 6, weights), linear(1, 5, 1, weights)),
        (Layer("linear", ("0.weight",)),),
        (Layer("linear", ("0.weight", "nowhere")),),
        (Layer("relu", ("0.weight",)),),
        (Layer("relu"),),
        (),
    ]:
        with pytest.raises(InvalidInput):
            Network(tuple(layers), weights)


def modules():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    torch.manual_seed(0)
    plain = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Dropout(0.5))
    return torch, nn.Sequential(
        plain, nn.Linear(8, 8, bias=False), nn.SiLU(), nn.ELU(0.7), nn.Linear(8, 1), nn.Sigmoid()
    )


def test_a_torch_module_is_packaged_and_scores_without_torch(artifacts, tmp_path):
    torch, module = modules()
    module.train()
    module(torch.from_numpy(X))  # moves the statistics of its norm
    made = package(module, infer(FRAME, None, set("abcd")), X, calibrator=None, artifacts=artifacts)
    assert (made.format, made.takes_missing) == ("safetensors", False)
    module.eval()
    with torch.no_grad():
        expected = module(torch.from_numpy(X)).numpy()[:, 0]
    found = SafetensorsModel(artifacts.get(made.models[0]), Output()).outputs(X)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    save_network(module, tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == artifacts.get(made.models[0])
    with pytest.raises(InvalidInput, match="Conv1d"):
        network_of(torch.nn.Sequential(torch.nn.Conv1d(1, 1, 1)))
