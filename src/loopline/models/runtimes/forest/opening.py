"""From an ONNX model to its trees in C, where they are proven to give ONNX Runtime's very numbers."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnx import ModelProto

from loopline.models.runtimes.forest.flat import flatten
from loopline.models.runtimes.forest.kernel import Forest, kernel
from loopline.models.runtimes.forest.parts import Parts, alone, parts_of
from loopline.models.runtimes.forest.proof import plain_rows, require_same, trial_rows
from loopline.models.runtimes.forest.shape import require, shape_of
from loopline.models.runtimes.forest.sums import sums_of
from loopline.models.tree_ensembles import table_of

Fed = Mapping[str, npt.NDArray[Any]]
# A session's own, below its Python: outputs by name, inputs by name, no options.
Run = Callable[[list[str], Fed, None], list[Any]]
Open = Callable[[ModelProto], Run]
Feed = Callable[[npt.NDArray[np.float32]], Fed]


class ForestRun:
    """A model whose trees are walked in C. What comes before and after them in its graph is left to ONNX Runtime, and so is one row
    alone then: two calls of it take longer than one for the whole graph.
    """

    def __init__(self, parts: Parts, forest: Forest, whole: Run, open_run: Open) -> None:
        self._takes, self._gives, self._forest = parts.takes, parts.gives, forest
        self._before = open_run(parts.before) if parts.before else None
        self._after = open_run(parts.after) if parts.after else None
        self._whole = whole if self._before or self._after else None

    def run(self, wanted: list[str], fed: Fed, _: None = None) -> list[Any]:
        """As the session of the whole model."""
        if self._whole is None:
            return [self._forest.outputs(fed[self._takes])]
        if len(next(iter(fed.values()))) == 1:
            return self._whole(wanted, fed, None)
        rows = self._before([self._takes], fed, None)[0] if self._before else fed[self._takes]
        scores = self._forest.outputs(rows)
        return self._after(wanted, {self._gives: scores}, None) if self._after else [scores]


def forest_of(
    model: ModelProto, session: ort.InferenceSession, wanted: list[str], feed: Feed, open_run: Open
) -> Run | None:
    """What gives the outputs `wanted` of the model as `session` does, bit for bit and faster; None where ONNX Runtime is to do it.

    That is where the library was not built here, where the model holds other than one ensemble of binary trees in single precision
    (or more than a million nodes), and where one bit differs in the proof, which takes a few milliseconds. `feed` makes of rows
    what the session's inputs take.
    """
    if kernel() is None:
        return None
    try:
        return _proven(model, session, wanted, feed, open_run)
    except Exception:  # a file may come from anyone and say anything: whatever it is, ONNX Runtime decides
        return None


def _proven(model: ModelProto, session: ort.InferenceSession, wanted: list[str], feed: Feed, open_run: Open) -> Run:
    parts = parts_of(model, wanted)
    table = table_of(parts.ensemble)
    shape = shape_of(table)
    sums = sums_of(parts.ensemble, table, shape)
    fields = _fields(session, parts)
    forest = Forest(flatten(shape, sums.target), sums, fields if parts.before is None else None)
    made = ForestRun(parts, forest, session.run, open_run)
    whole = parts.before is None and parts.after is None
    trees = session.run if whole else open_run(alone(model, parts))
    gives = wanted if whole else [parts.gives]
    rows = trial_rows(shape, forest.fields)
    require_same(lambda some: [forest.outputs(some)], lambda some: trees(gives, {parts.takes: some}, None), rows)
    if not whole:
        rows = rows if parts.before is None else plain_rows(fields, missing=_floats(session))
        require_same(lambda some: made.run(wanted, feed(some)), lambda some: session.run(wanted, feed(some)), rows)
    return made.run


def _fields(session: ort.InferenceSession, parts: Parts) -> int | None:
    """How many fields rows have, where the model says so."""
    inputs = session.get_inputs()
    if len(inputs) > 1:
        require(parts.before is not None, "several inputs")
        return len(inputs)
    require(parts.before is not None or _floats(session), "numbers of double precision")
    shape = inputs[0].shape
    require(len(shape) == 2, "rows of another shape")  # noqa: PLR2004 - rows and fields
    return shape[1] if isinstance(shape[1], int) else None


def _floats(session: ort.InferenceSession) -> bool:
    return all(one.type == "tensor(float)" for one in session.get_inputs())
