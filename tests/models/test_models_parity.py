"""Models made wrong on purpose, and caught: by rows made for it, or by comparing trees node by node."""

from functools import cache

import lightgbm
import numpy as np
import pytest
import xgboost
from onnx import ModelProto
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.tree import DecisionTreeClassifier

from loopline.errors import InvalidInput
from loopline.evaluation.kind import Output
from loopline.models.conversion import to_onnx
from loopline.models.parity import prove
from loopline.models.runtimes.onnx import OnnxModel
from loopline.models.signature import Field, Signature
from loopline.models.tree_proof import compare_trees
from loopline.models.trees import splits, trees_of

FAMILIES = {
    "histogram": lambda: HistGradientBoostingClassifier(max_iter=25, random_state=0),
    "forest": lambda: RandomForestClassifier(10, random_state=0, max_depth=7),
    "gradient": lambda: GradientBoostingClassifier(n_estimators=25, random_state=0),
    "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=25, verbose=-1, random_state=0),
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=25, max_depth=5),
}
KEEPS_BASE = ["histogram", "gradient", "xgboost"]
THREE = Output("multiclass", ("a", "b", "c"))
CODES = ("a", "b", "c", "d", "e")
SIGNATURE = Signature(
    fields=(
        Field(name="x", kind="number", given=True),
        Field(name="whole", kind="number", given=True),
        Field(name="code", kind="category", given=True, categories=CODES),
    )
)


@cache
def rows() -> np.ndarray:
    random = np.random.default_rng(5)
    found = np.column_stack([random.normal(size=1200), random.integers(-3, 12, 1200), random.integers(0, 5, 1200)])
    return found.astype(np.float32)


@cache
def fitted(family: str, classes: int):
    random = np.random.default_rng(6)
    x = rows()
    odds = x[:, 0] + 0.2 * x[:, 1] + np.array([0, 1.5, -1, 0.4, 2])[x[:, 2].astype(int)] - 3 + random.normal(size=1200)
    label = (odds > 0).astype(int) if classes == 2 else np.digitize(odds, [-2, 0])
    given = x.copy()
    if family != "gradient":
        given[random.random(given.shape) < 0.05] = np.nan
    estimator = FAMILIES[family]().fit(given, label)
    return estimator, given, to_onnx(estimator, 3)


def attributes(model: ModelProto) -> dict:
    return {one.name: one for node in model.graph.node for one in node.attribute if "TreeEnsemble" in node.op_type}


def weights(found: dict):
    return (found.get("class_weights") or found["target_weights"]).floats


def ids(found: dict):
    return (found.get("class_ids") or found["target_ids"]).ints


def proven(family: str, content: bytes, classes: int = 2, model=None):
    estimator, given, _ = fitted(family, classes)
    output = Output() if classes == 2 else THREE
    model = model or OnnxModel(content, output)
    return prove(estimator, model, SIGNATURE, given, 1e-5, output, graph=content)


def refused(family: str, model: ModelProto, classes: int = 2) -> str:
    with pytest.raises(InvalidInput) as caught:
        proven(family, model.SerializeToString(), classes)
    assert caught.value.code in {"model.parity_failed", "model.trees_differ"}
    return caught.value.context["kind"]


def inner_nodes(found: dict) -> list[int]:
    modes = np.array(found["nodes_modes"].strings)
    finite = np.isfinite(np.array(found["nodes_values"].floats, dtype=np.float32))
    return np.flatnonzero((modes != b"LEAF") & finite).tolist()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_right_model_is_proven_node_by_node(family, classes):
    estimator, _, content = fitted(family, classes)
    proof = proven(family, content, classes)
    trees = trees_of(estimator)
    assert proof.nodes_compared == sum(len(tree.leaf) for tree in trees)
    assert proof.thresholds == sum(int((~tree.leaf).sum()) for tree in trees)
    finite = sum(int(np.isfinite(tree.threshold[~tree.leaf]).sum()) for tree in trees)
    assert proof.thresholds_checked == finite
    assert proof.max_abs_difference < 2e-6


@pytest.mark.parametrize("direction", [-np.inf, np.inf])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_threshold_moved_by_one_float32(family, direction):
    content = fitted(family, 2)[2]
    places = inner_nodes(attributes(ModelProto.FromString(content)))
    for place in places[:: max(1, len(places) // 6)]:
        model = ModelProto.FromString(content)
        values = attributes(model)["nodes_values"].floats
        values[place] = np.nextafter(np.float32(values[place]), np.float32(direction))
        assert refused(family, model) in {"real", "category", "boundary", "trees"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_leaf_changed_by_a_millionth(family):
    content = fitted(family, 2)[2]
    found = weights(attributes(ModelProto.FromString(content)))
    place = int(np.argmin(np.where(np.array(found) == 0, np.inf, np.abs(found))))  # the one that shows least
    model = ModelProto.FromString(content)
    weights(attributes(model))[place] *= 1 + 1e-6
    assert refused(family, model) == "trees"


@pytest.mark.parametrize("family", FAMILIES)
def test_missing_values_sent_the_other_way_at_one_split(family):
    content = fitted(family, 2)[2]
    places = inner_nodes(attributes(ModelProto.FromString(content)))
    for place in places[:: max(1, len(places) // 6)]:
        model = ModelProto.FromString(content)
        tracks = attributes(model)["nodes_missing_value_tracks_true"].ints
        tracks[place] = 1 - tracks[place]
        assert refused(family, model) in {"real", "missing", "trees"}


@pytest.mark.parametrize("family", FAMILIES)
def test_children_exchanged_at_one_split(family):
    model = ModelProto.FromString(fitted(family, 2)[2])
    found = attributes(model)
    place = inner_nodes(found)[-1]
    left, right = found["nodes_truenodeids"].ints, found["nodes_falsenodeids"].ints
    left[place], right[place] = right[place], left[place]
    refused(family, model)


@pytest.mark.parametrize("family", KEEPS_BASE)
def test_the_base_is_dropped(family):
    model = ModelProto.FromString(fitted(family, 2)[2])
    attributes(model)["base_values"].floats[:] = [0.0]
    assert refused(family, model) == "real"


@pytest.mark.parametrize("family", FAMILIES)
def test_classes_in_another_order(family):
    model = ModelProto.FromString(fitted(family, 3)[2])
    found = ids(attributes(model))
    found[:] = [{0: 1, 1: 0}.get(one, one) for one in found]
    assert refused(family, model, 3) == "real"


class Swapped:
    """A model that takes two categories for each other."""

    def __init__(self, model, one: int, other: int) -> None:
        self._model, self._pair = model, (one, other)

    def outputs(self, matrix):
        one, other = self._pair
        codes = matrix[:, 2]
        swapped = np.where(codes == one, other, np.where(codes == other, one, codes))
        return self._model.outputs(np.column_stack([matrix[:, :2], swapped]).astype(np.float32))


@pytest.mark.parametrize("family", FAMILIES)
def test_two_categories_taken_for_each_other_also_where_no_real_row_has_them(family):
    estimator, given, content = fitted(family, 2)
    others = given[~np.isin(given[:, 2], [2, 3])]
    model = Swapped(OnnxModel(content), 2, 3)
    with pytest.raises(InvalidInput) as caught:
        prove(estimator, model, SIGNATURE, others, 1e-5, graph=content)
    assert caught.value.context["kind"] == "category"


def test_splits_that_no_row_reaches_are_reached_by_rows_made_for_them():
    estimator, given, content = fitted("histogram", 2)
    few = given[:5]
    for split in splits(trees_of(estimator), few, at_most=10_000):
        assert split.row is not None
    proof = prove(estimator, OnnxModel(content), SIGNATURE, few, 1e-5)
    assert proof.thresholds_checked == proof.thresholds
    places = inner_nodes(attributes(ModelProto.FromString(content)))
    model = ModelProto.FromString(content)
    values = attributes(model)["nodes_values"].floats
    values[places[1]] = np.nextafter(np.float32(values[places[1]]), np.float32(np.inf))
    with pytest.raises(InvalidInput) as caught:  # by scores alone
        prove(estimator, OnnxModel(model.SerializeToString()), SIGNATURE, few, 1e-5)
    assert caught.value.context["kind"] == "boundary"


def test_what_cannot_be_compared_is_left_to_the_scores():
    estimator, _, content = fitted("histogram", 2)
    assert compare_trees(content, trees_of(estimator)[:-1]) == 0
    bagged = BaggingClassifier(DecisionTreeClassifier(max_depth=3), 4, random_state=0).fit(rows(), rows()[:, 0] > 0)
    assert all(tree.value is None for tree in trees_of(bagged))
