import time

import msgspec
import numpy as np
import polars as pl
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from sklearn.linear_model import LogisticRegression

from loopline.errors import Corrupt, InvalidInput, NotFound, Unavailable
from loopline.evaluation.calibration import LogisticCalibrator
from loopline.models import package as packages
from loopline.models.packaging import package
from loopline.models.predictor import Predictor, load_predictor
from loopline.models.runtimes.onnx import OnnxModel
from loopline.models.signing import create_key, sign

LINE = LogisticCalibrator(0.8, -0.2)


@pytest.fixture
def stored(fitted, artifacts, key):
    """A package in the store, its envelope and the keys that may have signed it."""
    made = package(fitted.estimator, fitted.signature, fitted.rows, calibrator=LINE, artifacts=artifacts)
    return made, sign(key, packages.PAYLOAD_TYPE, made.encoded()), key.public


def test_a_loaded_predictor_scores_frames_as_estimator_and_calibrator_do(fitted, artifacts, stored):
    made, envelope, keys = stored
    predictor = load_predictor(artifacts, made.digest, envelope=envelope, keys=keys)
    raw = fitted.estimator.predict_proba(fitted.rows)[:, 1]
    expected = 1 / (1 + np.exp(-(0.8 * np.log(raw / (1 - raw)) - 0.2)))
    scores = predictor.predict(fitted.frame)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, expected, atol=2e-6)
    np.testing.assert_array_equal(scores, predictor.outputs(fitted.rows))
    shuffled = fitted.frame.select("carrier", pl.lit(1).alias("more"), "delay", "distance")
    np.testing.assert_array_equal(scores, predictor.predict(shuffled))


def test_one_row_scores_as_it_does_among_many_and_fast(fitted, artifacts, stored):
    predictor = Predictor(stored[0], [OnnxModel(artifacts.get(stored[0].models[0]))])
    together = predictor.outputs(fitted.rows[:50])
    alone = [predictor.outputs(fitted.rows[place : place + 1])[0] for place in range(50)]
    np.testing.assert_array_equal(together, alone)
    times = []
    for place in range(500):
        row = fitted.rows[place : place + 1]
        begin = time.perf_counter()
        predictor.outputs(row)
        times.append(time.perf_counter() - begin)
    assert np.median(times) < 200e-6  # 15 us on an idle core; room for a busy one


def test_what_the_envelope_does_not_sign_is_not_loaded(artifacts, stored, tmp_path):
    made, envelope, keys = stored
    altered = msgspec.structs.replace(made, calibrator=LogisticCalibrator(0.8, 0.2))
    fields = list(made.signature.fields)
    swapped = msgspec.structs.replace(fields[2], categories=fields[2].categories[::-1])
    reordered = msgspec.structs.replace(
        made, signature=msgspec.structs.replace(made.signature, fields=(*fields[:2], swapped))
    )
    for other in (altered, reordered):
        artifacts.put(other.encoded())
        with pytest.raises(Corrupt) as caught:
            load_predictor(artifacts, other.digest, envelope=envelope, keys=keys)
        assert caught.value.code == "model.other_package"
        forged = sign(create_key(tmp_path / other.digest[-8:]), packages.PAYLOAD_TYPE, other.encoded())
        with pytest.raises(Corrupt) as caught:
            load_predictor(artifacts, other.digest, envelope=forged, keys=keys)
        assert caught.value.code == "signature.unknown_key"


def test_damaged_and_missing_artifacts_are_refused(artifacts, stored, tmp_path):
    made, envelope, keys = stored
    (file,) = (
        path for path in (tmp_path / "artifacts").rglob("*") if path.is_file() and b"skl2onnx" in path.read_bytes()[:99]
    )
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(Corrupt) as caught:
        load_predictor(artifacts, made.digest, envelope=envelope, keys=keys)
    assert caught.value.code == "artifact.corrupt"
    file.unlink()
    with pytest.raises(NotFound):
        load_predictor(artifacts, made.digest, envelope=envelope, keys=keys)


def test_a_signed_payload_that_is_no_package_is_refused(artifacts, key):
    envelope = sign(key, packages.PAYLOAD_TYPE, b"{}")
    with pytest.raises(Corrupt) as caught:
        load_predictor(artifacts, packages.digest(b"{}"), envelope=envelope, keys=key.public)
    assert caught.value.code == "model.package_unreadable"


def test_a_model_that_takes_no_missing_values_says_so(fitted, artifacts):
    rows = np.nan_to_num(fitted.rows)
    estimator = LogisticRegression(max_iter=3000).fit(rows, fitted.label)
    made = package(estimator, fitted.signature, rows, calibrator=None, artifacts=artifacts)
    predictor = Predictor(made, [OnnxModel(artifacts.get(made.models[0]))])
    with pytest.raises(Unavailable) as caught:
        predictor.outputs(np.array([[1, np.nan, 2]], dtype=np.float32))
    assert (caught.value.code, caught.value.context["fields"]) == ("model.missing_values", ["distance"])


def external(tensor: TensorProto) -> TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def tensor() -> TensorProto:
    return numpy_helper.from_array(np.ones((2, 2), dtype=np.float32), "w")


def test_external_data_is_refused_wherever_it_hides(fitted, artifacts, stored):
    content = artifacts.get(stored[0].models[0])
    constant = helper.make_node("Constant", [], ["c"], value=external(tensor()))
    inner = helper.make_graph([constant], "inner", [], [])
    hiding_places = [
        lambda model: model.graph.initializer.append(external(tensor())),
        lambda model: model.graph.node.append(constant),
        lambda model: model.graph.node.append(
            helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
        ),
        lambda model: model.functions.append(helper.make_function("d", "f", [], ["c"], [constant], [])),
        lambda model: model.graph.sparse_initializer.add().values.CopyFrom(external(tensor())),
        lambda model: model.training_info.add().algorithm.initializer.append(external(tensor())),
    ]
    for hide in hiding_places:
        model = ModelProto.FromString(content)
        hide(model)
        with pytest.raises(InvalidInput) as caught:
            OnnxModel(model.SerializeToString())
        assert caught.value.code == "model.external_data"


def test_bytes_that_are_no_classifier_are_refused():
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [value("x", TensorProto.FLOAT, ["n", 3])],
        [value("y", TensorProto.FLOAT, ["n", 3])],
    )
    opset = [helper.make_opsetid("", 18)]
    identity = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    for content, code in [
        (b"\xff\xff\xff", "model.unreadable"),
        (b"", "model.unreadable"),
        (identity, "model.no_output"),
    ]:
        with pytest.raises(Corrupt) as caught:
            OnnxModel(content)
        assert caught.value.code == code
