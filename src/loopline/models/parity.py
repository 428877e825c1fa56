"""Proof that a compiled model scores as the estimator it was made from, where the two are likeliest to differ."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput
from loopline.evaluation.kind import BINARY, Output
from loopline.models.estimator import class_places, estimate, is_runtime, widened
from loopline.models.package import Parity
from loopline.models.runtimes.runtime import Runtime
from loopline.models.signature import Signature
from loopline.models.tree import Tree
from loopline.models.tree_proof import compare_trees
from loopline.models.trees import Rows, Split, splits, trees_of

_ROWS_PER_FIELD = 100
_ROWS_PER_CATEGORY = 4
_ROWS_TO_REACH_SPLITS = 4096
_SPLITS = 20_000
_CHUNK = 50_000


def takes_missing(estimator: Any, features: int, output: Output = BINARY) -> bool:
    """Whether the fitted estimator scores a row of NaN. Only trying tells: pipelines do not say, and networks answer NaN."""
    try:
        found = estimate(estimator, np.full((1, features), np.nan, dtype=np.float32), output)
    except ValueError:
        return False
    return bool(np.isfinite(found).all())


def prove(
    estimator: Any,
    model: Runtime,
    signature: Signature,
    rows: Rows,
    tolerance: float,
    output: Output = BINARY,
    *,
    graph: bytes = b"",
) -> Parity:
    """Compare the packaged `model` with the fitted `estimator` and say what was compared.

    `rows` are real rows, float32 of shape (n, number of fields). Beside them are scored: rows with each field missing in
    turn (as an unseen category is, too), rows with every category in turn, and for the splits of the trees rows that get
    there with the float32 numbers at and next to the threshold. Where `graph`, the model in ONNX, is given, its trees are compared
    with the estimator's node by node besides: a split that scores hardly depend on is a split all the same. Raises
    `InvalidInput` (`model.parity_failed`) where an output differs by more than `tolerance`, for values that exceed 1 relative to
    their size, and (`model.trees_differ`) where a node differs.
    """
    trees = trees_of(estimator)
    reached = _reached_splits(estimator, trees, rows)
    worst, counts = 0.0, {}
    for kind, cases in _cases(estimator, signature, rows, reached, output).items():
        counts[kind] = len(cases)
        difference = _differences(estimator, model, cases, output)
        if not np.all(difference <= tolerance):
            raise _failed(kind, cases, difference, tolerance)
        worst = max(worst, float(difference.max(initial=0.0)))
    return Parity(
        rows=len(rows),
        cases=counts,
        thresholds=sum(int(np.sum(~tree.leaf)) for tree in trees),
        thresholds_checked=sum(_is_checked(split) for split in reached),
        max_abs_difference=worst,
        tolerance=tolerance,
        nodes_compared=compare_trees(graph, trees) if graph and trees else 0,
    )


def _cases(estimator: Any, signature: Signature, rows: Rows, reached: list[Split], output: Output) -> dict[str, Rows]:
    missing = list(_missing(rows)) if takes_missing(estimator, rows.shape[1], output) else []
    return {
        "real": rows,
        "missing": _stack(missing, rows),
        "category": _stack(list(_categories(signature, rows)), rows),
        "boundary": _boundary(estimator, rows, reached),
    }


def _missing(rows: Rows) -> Iterator[Rows]:
    sample = _spread(rows, _ROWS_PER_FIELD)
    for place in range(rows.shape[1]):
        yield _with(sample, place, np.float32(np.nan))
    yield np.full_like(rows[:1], np.nan)


def _categories(signature: Signature, rows: Rows) -> Iterator[Rows]:
    sample = _spread(rows, _ROWS_PER_CATEGORY)
    for place, field in enumerate(signature.fields):
        for code in range(len(field.categories)):
            yield _with(sample, place, np.float32(code))


def _boundary(estimator: Any, rows: Rows, reached: list[Split]) -> Rows:
    checked = [split for split in reached if _is_checked(split)]
    if not checked:
        return rows[:0]
    before = _before_the_trees(estimator)
    cases = np.array([split.row for split in checked], dtype=np.float32).repeat(3, axis=0)
    threshold = np.array([split.threshold for split in checked], dtype=np.float32)
    up, down = np.nextafter(threshold, np.float32(np.inf)), np.nextafter(threshold, np.float32(-np.inf))
    features = np.array([split.feature for split in checked]).repeat(3)
    cases[np.arange(len(cases)), features] = np.column_stack([threshold, up, down]).ravel()
    given = _as_given(before, cases)
    return given if given.shape[1] == rows.shape[1] else rows[:0]


def _reached_splits(estimator: Any, trees: list[Tree], rows: Rows) -> list[Split]:
    before = _before_the_trees(estimator)
    seen = _spread(rows, _ROWS_TO_REACH_SPLITS) if before is None else _as_trees_see(before, rows)
    return list(splits(trees, seen, at_most=_SPLITS))


def _before_the_trees(estimator: Any) -> Any:
    """The steps of a pipeline before its last; None where there are none."""
    estimator = estimator.estimator if is_runtime(estimator) else estimator
    return estimator[:-1] if hasattr(estimator, "steps") and len(estimator.steps) > 1 else None


def _as_trees_see(before: Any, rows: Rows) -> Rows:
    return np.asarray(before.transform(_spread(rows, _ROWS_TO_REACH_SPLITS)), dtype=np.float32)


def _as_given(before: Any, cases: Rows) -> Rows:
    """Rows that the steps `before` turn into `cases`, as far as they can be undone: an imputer needs no undoing."""
    try:
        return np.ascontiguousarray(before.inverse_transform(cases), dtype=np.float32)
    except (AttributeError, ValueError):
        return cases


def _is_checked(split: Split) -> bool:
    return split.row is not None and bool(np.isfinite(split.threshold))


def _differences(estimator: Any, model: Runtime, cases: Rows, output: Output) -> npt.NDArray[np.float64]:
    parts = [_difference(estimator, model, cases[at : at + _CHUNK], output) for at in range(0, len(cases), _CHUNK)]
    return np.concatenate(parts) if parts else np.empty(0)


def _difference(estimator: Any, model: Runtime, cases: Rows, output: Output) -> npt.NDArray[np.float64]:
    """The greatest difference of each row, relative to what is expected where that exceeds 1."""
    expected = estimate(estimator, cases, output)
    found = widened(model.outputs(cases), class_places(estimator, output), output)
    difference = np.abs(expected - found) / np.maximum(1, np.abs(expected))
    return difference if difference.ndim == 1 else difference.max(axis=1)


def _failed(kind: str, cases: Rows, difference: npt.NDArray[np.float64], tolerance: float) -> InvalidInput:
    place = int(np.argmax(np.where(np.isnan(difference), np.inf, difference)))
    return InvalidInput(
        "model.parity_failed",
        f"the compiled model differs from the estimator by {difference[place]:.3g} on a {kind} row; {tolerance:g} is allowed",
        remedy="Trees need no scaling: drop a scaler before them. Linear models want inputs of order one.",
        kind=kind,
        difference=float(difference[place]),
        row=[float(value) for value in cases[place]],
    )


def _spread(rows: Rows, at_most: int) -> Rows:
    """At most so many of the rows, evenly spread."""
    return rows[np.linspace(0, len(rows) - 1, num=min(at_most, len(rows))).astype(np.intp)]


def _with(rows: Rows, place: int, value: np.float32) -> Rows:
    changed = rows.copy()
    changed[:, place] = value
    return changed


def _stack(parts: list[Rows], rows: Rows) -> Rows:
    return np.concatenate(parts) if parts else rows[:0]
