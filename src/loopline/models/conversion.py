"""From a fitted scikit-learn estimator to ONNX bytes that are the same for the same estimator, in every process."""

import warnings
from typing import Any

import numpy as np
from onnx import ModelProto
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType

from loopline.errors import InvalidInput
from loopline.models.boosters.booster import tree_sum_of
from loopline.models.tree import Tree
from loopline.models.tree_ensembles import ensembles_of
from loopline.models.tree_proof import tree_sizes
from loopline.models.trees import trees_of

_OPSETS = {"": 18, "ai.onnx.ml": 3}  # pinned: a newer library must not change what is written
_MESSAGE = 200


def to_onnx(estimator: Any, features: int) -> bytes:
    """The fitted estimator as ONNX: trees of LightGBM and XGBoost by our own hand, the rest by skl2onnx. Input `rows` float32 (n, features), an output of
    probabilities (n, classes) or (n, 1), or of values (n, outputs).

    Raises `InvalidInput` for estimators that do not convert, or are known to convert wrongly.
    """
    booster = tree_sum_of(estimator)
    if booster is not None:
        return booster.to_onnx(features)
    _refuse_native_categories(estimator)
    try:
        model = _convert(estimator, features)
    except Exception as error:  # its errors share no base class but this
        raise InvalidInput(
            "model.not_convertible",
            f"{type(estimator).__name__} does not convert to ONNX: {str(error)[:_MESSAGE]}",
            remedy="Use an estimator that skl2onnx supports.",
        ) from error
    restore_splits(model, trees_of(estimator))
    model.producer_version = ""
    return bytes(model.SerializeToString(deterministic=True))


def _convert(estimator: Any, features: int) -> ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # skl2onnx 1.20 hands NumPy's booleans to protobuf
        model: ModelProto = convert_sklearn(
            estimator,
            name="model",
            initial_types=[("rows", FloatTensorType([None, features]))],
            options={id(estimator): {"zipmap": False}} if hasattr(estimator, "classes_") else None,
            target_opset=_OPSETS,
        )
    return model


def _refuse_native_categories(estimator: Any) -> None:
    final = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    native = getattr(final, "is_categorical_", None)
    if native is not None and native.any():
        raise InvalidInput(
            "model.native_categories",
            "native categories of HistGradientBoosting do not survive conversion to ONNX",
            remedy="Leave categorical_features out: fields of categories come encoded, ordered by their mean label.",
        )


def restore_splits(model: ModelProto, trees: list[Tree]) -> None:
    """Write the estimator's own splits into the graph, where graph and `trees` have the same shape.

    skl2onnx 1.20 rounds some thresholds of HistGradientBoosting up to a float32 that belongs on the other side, and
    forgets where forests send missing values. Where shapes differ nothing is changed: the proof of parity decides.
    """
    ensembles = [{one.name: one for one in node.attribute} for node in ensembles_of(model)]
    if [size for attributes in ensembles for size in _sizes(attributes)] != [len(tree.leaf) for tree in trees]:
        return
    for attributes in ensembles:
        count = len(_sizes(attributes))
        own, trees = trees[:count], trees[count:]
        thresholds = np.concatenate([np.where(tree.leaf, 0, tree.float32_threshold()) for tree in own])
        missing = np.concatenate([tree.missing_left & ~tree.leaf for tree in own])
        attributes["nodes_values"].floats[:] = thresholds.tolist()
        attributes["nodes_missing_value_tracks_true"].ints[:] = missing.astype(int).tolist()


def _sizes(attributes: dict[str, Any]) -> list[int]:
    return tree_sizes({name: attributes[name].ints for name in ("nodes_treeids", "nodes_nodeids")})
