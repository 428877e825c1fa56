"""Trees that are walked in C: the very numbers of ONNX Runtime for whatever trees, and ONNX Runtime itself where one bit would differ."""

import ctypes
import subprocess
import threading
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import lightgbm
import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits

from loopline import native
from loopline.errors import InvalidInput
from loopline.evaluation.kind import Output
from loopline.models.conversion import to_onnx
from loopline.models.runtimes.forest import opening
from loopline.models.runtimes.forest.flat import flatten
from loopline.models.runtimes.forest.kernel import Forest, kernel
from loopline.models.runtimes.forest.opening import ForestRun
from loopline.models.runtimes.forest.shape import NotTaken, shape_of
from loopline.models.runtimes.forest.sums import sums_of
from loopline.models.runtimes.onnx import OnnxModel
from loopline.models.runtimes.runtime import as_output
from loopline.models.tree_ensembles import ensembles_of, table_of

_spec = spec_from_file_location("forest_models", Path(__file__).with_name("forest_models.py"))
made = module_from_spec(_spec)
_spec.loader.exec_module(made)

SIZES = (1, 2, 5, 9, 16, 17, 33, 64, 65, 130, 500)
RNG = np.random.default_rng(5)
X = RNG.normal(size=(500, 6)).astype(np.float32)
X[RNG.random(X.shape) < 0.05] = np.nan
FULL = np.nan_to_num(X)
VALUE = FULL[:, 0] + FULL[:, 1] * FULL[:, 2]
TWO, THREE = (VALUE > 0).astype(int), np.digitize(VALUE, [-0.7, 0.7])
BOTH = np.stack([VALUE, FULL[:, 3] ** 2], axis=1)
CLASSES, NUMBER = Output("multiclass", ("a", "b", "c")), Output("regression")
FEW = {"n_estimators": 12, "random_state": 0}
KINDS = {
    "hgb": (HistGradientBoostingClassifier(max_iter=12), TWO, Output()),
    "hgb of three": (HistGradientBoostingClassifier(max_iter=12), THREE, CLASSES),
    "hgb of a quantile": (HistGradientBoostingRegressor(loss="quantile", quantile=0.9, max_iter=12), VALUE, NUMBER),
    "gb": (GradientBoostingClassifier(**FEW), TWO, Output()),
    "gb of three": (GradientBoostingClassifier(**FEW), THREE, CLASSES),
    "forest": (RandomForestClassifier(**FEW), TWO, Output()),
    "forest of three": (RandomForestClassifier(**FEW), THREE, CLASSES),
    "forest of two targets": (RandomForestRegressor(**FEW), BOTH, Output("multioutput", targets=("a", "b"))),
    "extra trees": (ExtraTreesRegressor(**FEW), VALUE, NUMBER),
    "tree": (DecisionTreeClassifier(random_state=0), TWO, Output()),
    "tree for numbers": (DecisionTreeRegressor(random_state=0), VALUE, NUMBER),
    "lightgbm": (lightgbm.LGBMClassifier(verbose=-1, n_jobs=1, **FEW), TWO, Output()),
    "lightgbm of three": (lightgbm.LGBMClassifier(verbose=-1, n_jobs=1, **FEW), THREE, CLASSES),
    "lightgbm for numbers": (lightgbm.LGBMRegressor(verbose=-1, n_jobs=1, **FEW), VALUE, NUMBER),
    "xgboost": (xgboost.XGBClassifier(n_jobs=1, **FEW), TWO, Output()),
    "xgboost of three": (xgboost.XGBClassifier(n_jobs=1, **FEW), THREE, CLASSES),
    "xgboost for numbers": (xgboost.XGBRegressor(n_jobs=1, **FEW), VALUE, NUMBER),
    "pipeline": (make_pipeline(SimpleImputer(), StandardScaler(), GradientBoostingClassifier(**FEW)), TWO, Output()),
}


def taken(model: OnnxModel) -> bool:
    return isinstance(getattr(model._run, "__self__", None), ForestRun)


def by_onnx_runtime(content: bytes, rows: np.ndarray, output: Output) -> np.ndarray:
    session = made.session_of(content)
    found = session.run([session.get_outputs()[-1].name], {session.get_inputs()[0].name: rows})[0]
    return as_output(found, output)


def forest_in(content: bytes) -> Forest:
    """The kernel for a model, without the proof that would refuse a wrong one."""
    (node,) = ensembles_of(ModelProto.FromString(content))
    table = table_of(node)
    shape = shape_of(table)
    sums = sums_of(node, table, shape)
    return Forest(flatten(shape, sums.target), sums, made.FIELDS)


def assert_same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_walked_in_c_and_gives_the_bits_of_onnx_runtime(kind):
    estimator, label, output = KINDS[kind]
    takes_missing = kind.startswith(("hgb", "lightgbm", "xgboost", "pipeline", "tree"))
    rows = X if takes_missing else FULL
    with threadpool_limits(1):  # on a busy machine OpenMP's threads wait for each other
        content = to_onnx(estimator.fit(rows, label), 6)
    model = OnnxModel(content, output)
    assert taken(model)
    for size in SIZES:
        some = RNG.permutation(rows)[:size]
        assert_same_bits(model.outputs(some), by_onnx_runtime(content, some, output))


HOW = st.fixed_dictionaries(
    {
        "targets": st.integers(1, 4),
        "all_targets": st.booleans(),
        "classifier": st.booleans(),
        "transform": st.sampled_from(["NONE", "LOGISTIC", "SOFTMAX"]),
        "average": st.booleans(),
        "base": st.booleans(),
        "modes": st.sampled_from([["BRANCH_LEQ"], ["BRANCH_LT"], ["BRANCH_LEQ", "BRANCH_LT"]]),
        "missing": st.booleans(),
        "skewed": st.booleans(),
        "mixed": st.booleans(),
        "negative": st.booleans(),
    }
)


def settled(how: dict, sizes: list[int]) -> bool:
    """Whether the sums do not depend on which targets had a weight at all."""
    all_had = how["all_targets"] or len(sizes) >= how["targets"]
    if how["classifier"] and how["targets"] == 2:
        return all_had and not how["base"]
    return how["classifier"] or how["targets"] == 1 or all_had or not how["base"]


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.sampled_from([1, 2, 3, 8, 31, 32, 33, 64, 65, 150]), min_size=1, max_size=20),
    HOW,
    st.integers(0, 2**32),
)
def test_whatever_the_trees_the_bits_are_those_of_onnx_runtime(sizes, how, seed):
    rng = np.random.default_rng(seed)
    if how["skewed"]:
        sizes = [min(size, 65) for size in sizes]
    content = made.random_model(rng, sizes, **how)
    try:
        forest = forest_in(content)
    except NotTaken:
        assert not settled(how, sizes)
        return
    session = made.session_of(content)
    for size in (1, 3, 8, 20, 70, 200):
        rows = made.random_rows(rng, size, missing=bool(size % 3))
        assert_same_bits(forest.outputs(rows), session.run(["scores"], {"rows": rows})[0])


@pytest.fixture(scope="module")
def boosted() -> bytes:
    with threadpool_limits(1):
        return to_onnx(HistGradientBoostingClassifier(max_iter=12).fit(X, TWO), 6)


@pytest.fixture(scope="module")
def large() -> bytes:
    """Trees that are walked, since they have more than 64 leaves."""
    return to_onnx(RandomForestRegressor(**FEW).fit(FULL, VALUE), 6)


def inner(flat):
    """Not leaves: they must stay their own children, or nothing ends."""
    return flat.nodes["child"] >> 1 != np.arange(len(flat.nodes))


def shifted(flat):
    flat.splits["threshold"] = np.nextafter(flat.splits["threshold"], np.float32(np.inf))
    flat.nodes["threshold"] = np.nextafter(flat.nodes["threshold"], np.float32(np.inf))


def shifted_down_alone(flat):
    flat.nodes["threshold"][inner(flat)] = np.nextafter(flat.nodes["threshold"][inner(flat)], np.float32(-np.inf))


def swapped(flat):
    """The root's children, of the first tree alone."""
    root = flat.trees["root"][0]
    left = flat.nodes["child"][root] >> 1
    assert inner(flat)[[left, left + 1]].all()
    flat.nodes[[left, left + 1]] = flat.nodes[[left + 1, left]]
    flat.splits["keep"][0] = ~flat.splits["keep"][0]


def missing_right(flat):
    flat.splits["missing_left"] ^= 1
    flat.nodes["child"][inner(flat)] ^= 1


def another_order(flat):
    """The same trees, the sum in another order."""
    flat.trees[:] = flat.trees[::-1].copy()


def another_field(flat):
    flat.columns[:2] = flat.columns[1::-1].copy()


@pytest.mark.parametrize("fault", [shifted, swapped, missing_right, another_order, another_field, shifted_down_alone])
@pytest.mark.parametrize("kind", ["boosted", "large"])
def test_a_kernel_that_is_wrong_is_found_when_the_model_is_opened(kind, fault, request, monkeypatch):
    content = request.getfixturevalue(kind)
    output = Output() if kind == "boosted" else NUMBER
    assert taken(OnnxModel(content, output))

    def wrong(shape, target):
        flat = flatten(shape, target)
        fault(flat)
        return flat

    monkeypatch.setattr(opening, "flatten", wrong)
    model = OnnxModel(content, output)
    assert not taken(model)
    rows = X if kind == "boosted" else FULL
    assert_same_bits(model.outputs(rows), by_onnx_runtime(content, rows, output))


def test_a_wrong_transform_of_sums_is_found_too(boosted, monkeypatch):
    def wrong(node, table, shape):
        return replace(sums_of(node, table, shape), transform=0)

    monkeypatch.setattr(opening, "sums_of", wrong)
    assert not taken(OnnxModel(boosted))


def test_without_the_library_onnx_runtime_scores_the_same(boosted, monkeypatch):
    with_it = OnnxModel(boosted).outputs(X)
    monkeypatch.setattr(opening, "kernel", lambda: None)
    without = OnnxModel(boosted)
    assert not taken(without)
    assert_same_bits(without.outputs(X), with_it)


def test_rows_need_not_lie_one_after_the_other_and_may_be_none(boosted):
    model = OnnxModel(boosted)
    expected = model.outputs(X)
    assert_same_bits(model.outputs(np.asfortranarray(X)), expected)
    assert_same_bits(model.outputs(np.repeat(X, 2, axis=1)[::2, ::2]), expected[::2])
    assert model.outputs(X[:0]).shape == (0,)


@pytest.mark.parametrize("fields", [0, 5, 7])
def test_rows_of_other_fields_are_refused(boosted, fields):
    with pytest.raises(InvalidInput) as refused:
        OnnxModel(boosted).outputs(np.zeros((3, fields), dtype=np.float32))
    assert refused.value.code == "model.other_fields"


def test_threads_do_not_mix_their_rows(boosted):
    model = OnnxModel(boosted)
    expected, wrong = model.outputs(X), []

    def ask(first: int) -> None:
        for place in range(first, 400, 7):
            wrong.extend(np.flatnonzero(model.outputs(X[place : place + 90]) != expected[place : place + 90]))

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_input_for_each_field_and_maps_of_probabilities_stay_with_onnx_runtime_around_the_trees(boosted):
    graph = ModelProto.FromString(boosted).graph
    names = [f"f{place}" for place in range(6)]
    around = helper.make_graph(
        [
            helper.make_node("Concat", names, ["rows"], axis=1),
            *graph.node,
            helper.make_node("ZipMap", ["probabilities"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]),
        ],
        "around",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in names],
        [
            helper.make_value_info(
                "maps",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
                ),
            )
        ],
    )
    opsets = (helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3))
    model = OnnxModel(helper.make_model(around, opset_imports=opsets, ir_version=8).SerializeToString())
    assert taken(model)
    for size in (1, 2, 100):
        np.testing.assert_array_equal(model.outputs(X[:size]), OnnxModel(boosted).outputs(X[:size]))


def changed(**columns):
    """The attributes of an ensemble of three trees, some of them other."""
    told = made.told_by(made.random_model(np.random.default_rng(1), [4, 3, 70], targets=1))
    return {**told, **columns}


PLAIN = changed()
NODES = len(PLAIN["nodes_nodeids"])
CRAFTED = {
    "a child that is not there": {"nodes_truenodeids": [10_000] * NODES},
    "a child beyond all numbers": {"nodes_falsenodeids": [2**62] * NODES},
    "a negative child": {"nodes_truenodeids": [-1] * NODES},
    "a node as its own child": {"nodes_truenodeids": PLAIN["nodes_nodeids"]},
    "a root as a child": {"nodes_falsenodeids": [0] * NODES},
    "no column of children": {"nodes_truenodeids": []},
    "fewer fields than nodes": {"nodes_featureids": [0]},
    "a negative field": {"nodes_featureids": [-1] * NODES},
    "a field beyond all": {"nodes_featureids": [2**40] * NODES},
    "a field that rows do not have": {"nodes_featureids": [made.FIELDS] * NODES},
    "leaves alone": {"nodes_modes": ["LEAF"] * NODES},
    "another comparison": {"nodes_modes": ["BRANCH_EQ"] * NODES},
    "a number twice": {"nodes_nodeids": [0] * NODES},
    "a threshold that is none": {"nodes_values": [float("nan")] * NODES},
    "ways of missing values for some": {"nodes_missing_value_tracks_true": [1]},
    "weights of no tree": {"target_treeids": [99] * len(PLAIN["target_treeids"])},
    "weights of no node": {"target_nodeids": [2**40] * len(PLAIN["target_nodeids"])},
    "weights of one leaf": {"target_nodeids": [PLAIN["target_nodeids"][0]] * len(PLAIN["target_nodeids"])},
    "weights for no target": {"target_ids": [1] * len(PLAIN["target_ids"])},
    "weights for a negative target": {"target_ids": [-1] * len(PLAIN["target_ids"])},
    "too few weights": {"target_weights": [1.0]},
    "weights that are none": {"target_weights": [float("nan")] * len(PLAIN["target_weights"])},
    "two base values": {"base_values": [1.0, 2.0]},
    "an aggregate of another kind": {"aggregate_function": "MAX"},
    "a transform of another kind": {"post_transform": "PROBIT"},
    "no targets": {"n_targets": 0},
    "targets without end": {"n_targets": 2**40},
}


def test_what_the_crafted_ones_are_made_from_is_taken():
    forest_in(made.model_of("TreeEnsembleRegressor", PLAIN))


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_file_is_left_to_onnx_runtime(name):
    with pytest.raises(NotTaken):
        forest_in(made.model_of("TreeEnsembleRegressor", changed(**CRAFTED[name])))


def test_a_tree_without_end_or_depth_is_not_walked():
    deep = made.random_model(np.random.default_rng(0), [2000], targets=1, skewed=True)
    with pytest.raises(NotTaken):
        forest_in(deep)
    model = OnnxModel(deep, NUMBER)
    assert not taken(model)
    rows = made.random_rows(np.random.default_rng(1), 50, missing=True)
    assert_same_bits(model.outputs(rows), made.session_of(deep).run(None, {"rows": rows})[0].astype(float).ravel())


def test_double_precision_is_left_to_onnx_runtime():
    told = {**PLAIN, "nodes_values": [], "target_weights": []}
    told["nodes_values_as_tensor"] = helper.make_tensor("v", TensorProto.DOUBLE, [NODES], PLAIN["nodes_values"])
    count = len(PLAIN["target_weights"])
    told["target_weights_as_tensor"] = helper.make_tensor("w", TensorProto.DOUBLE, [count], PLAIN["target_weights"])
    with pytest.raises(NotTaken):
        forest_in(made.model_of("TreeEnsembleRegressor", told))


def test_narrow_registers_give_the_same_bits(tmp_path, boosted, large, monkeypatch):
    narrow = tmp_path / "narrow.so"
    flags = [flag for flag in native.FLAGS if flag != "-O3"]
    command = ["cc", *flags, "-O1", "-DLOOPLINE_NARROW", str(native.FOREST.source), "-o", str(narrow), "-lm"]
    subprocess.run(command, check=True)
    other = ctypes.CDLL(str(narrow)).loopline_forest
    other.argtypes, other.restype = kernel().argtypes, kernel().restype
    expected = [OnnxModel(content, output).outputs(FULL) for content, output in ((boosted, Output()), (large, NUMBER))]
    monkeypatch.setattr("loopline.models.runtimes.forest.kernel.kernel", lambda: other)
    for content, output, wanted in ((boosted, Output(), expected[0]), (large, NUMBER, expected[1])):
        model = OnnxModel(content, output)
        assert taken(model)
        for size in SIZES:
            assert_same_bits(model.outputs(FULL[:size]), wanted[:size])
