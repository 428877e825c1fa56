"""Several targets a row: each runtime gives what its library gives, in the order of the targets."""

import numpy as np
import polars as pl
import pytest
import skops.io
import xgboost
from onnx import TensorProto, helper
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multioutput import MultiOutputRegressor

from loopline.app.alone.model_file import Asked, read_model
from loopline.errors import Corrupt, InvalidInput
from loopline.evaluation.kind import Output
from loopline.models.conversion import to_onnx
from loopline.models.packaging import package
from loopline.models.predictor import load_predictor
from loopline.models.runtimes.onnx import OnnxModel
from loopline.models.signature import infer
from loopline.models.signing import sign

RNG = np.random.default_rng(2)
X = RNG.normal(size=(300, 3)).astype(np.float32)
Y = np.column_stack([X[:, 0] * 3, X[:, 1] ** 2 - 5, X[:, 2]])
FRAME = pl.DataFrame(X, schema=["a", "b", "c"])
OUTPUT = Output("multioutput", targets=("load", "price", "wind"))

CASES = {
    "forest": (RandomForestRegressor(5, random_state=0), "onnx"),
    "line": (Ridge(), "onnx"),
    "one each": (MultiOutputRegressor(GradientBoostingRegressor(n_estimators=5, random_state=0)), "onnx"),
    "xgboost, one tree each": (xgboost.XGBRegressor(n_estimators=6), "onnx"),
    "xgboost, leaves of all": (xgboost.XGBRegressor(n_estimators=6, multi_strategy="multi_output_tree"), "xgboost"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_target_is_what_its_library_gives(case, artifacts, key):
    estimator, form = CASES[case]
    estimator.fit(X, Y)
    made = package(estimator, infer(FRAME, None, set("abc"), OUTPUT), X, calibrator=None, artifacts=artifacts)
    assert made.format == form, made.refused
    envelope = sign(key, "application/vnd.loopline.model-package.v1+json", made.encoded())
    predictor = load_predictor(artifacts, made.digest, envelope=envelope, keys=key.public)
    found = predictor.predict(FRAME)
    np.testing.assert_allclose(found, estimator.predict(X), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(OUTPUT.scores(found), found[:, 0])


def test_an_output_for_each_target_is_read_in_order(tmp_path):
    names = [f"y{place}" for place in range(3)]
    nodes = [helper.make_node("Gemm", ["x", f"w{place}"], [name]) for place, name in enumerate(names)]
    weights = [
        helper.make_tensor(f"w{place}", TensorProto.FLOAT, [3, 1], np.eye(3)[place] * (place + 1)) for place in range(3)
    ]
    shown = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in names]
    rows = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])
    graph = helper.make_graph(nodes, "g", [rows], shown, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    found = read_model(tmp_path / "m.onnx", FRAME, (), Asked(targets=OUTPUT.targets))
    assert found.signature.output == OUTPUT
    np.testing.assert_allclose(found.runtime.outputs(X), X * [1, 2, 3], rtol=1e-6)
    two = Output("multioutput", targets=("a", "b"))
    with pytest.raises(Corrupt, match="3 float outputs for 2 targets"):
        OnnxModel(model.SerializeToString(), two)


def test_files_say_themselves_that_they_have_several_targets(tmp_path):
    forest, gradient = (
        RandomForestRegressor(4, random_state=0).fit(X, Y),
        xgboost.XGBRegressor(n_estimators=3).fit(X, Y),
    )
    (tmp_path / "m.onnx").write_bytes(to_onnx(forest, 3))
    (tmp_path / "m.skops").write_bytes(skops.io.dumps(forest))
    gradient.save_model(tmp_path / "m.ubj")
    (tmp_path / "two.onnx").write_bytes(to_onnx(LogisticRegression().fit(X, X[:, 0] > 0), 3))
    for name, expected in [("m.onnx", forest), ("m.skops", forest), ("m.ubj", gradient)]:
        found = read_model(tmp_path / name, FRAME, (), Asked())
        assert found.signature.output == Output("multioutput", targets=("0", "1", "2"))
        np.testing.assert_allclose(found.runtime.outputs(X), expected.predict(X), rtol=1e-5, atol=1e-5)
    assert read_model(tmp_path / "two.onnx", FRAME, (), Asked()).signature.output == Output()


def test_targets_must_be_named_and_go_with_nothing_else():
    for said in [{}, {"targets": ("a",)}, {"targets": ("a", "a")}, {"targets": ("a", "b"), "classes": ("a", "b")}]:
        with pytest.raises(InvalidInput, match="do not make"):
            Output("multioutput", **said)
    with pytest.raises(InvalidInput, match="do not make"):
        Output("regression", targets=("a", "b"))
