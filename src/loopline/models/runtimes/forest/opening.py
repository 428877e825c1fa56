"""From an ONNX model to its trees in C, where they are proven to give ONNX Runtime's very numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnx import ModelProto

from loopline.models.runtimes.forest.flat import flatten
from loopline.models.runtimes.forest.kernel import Forest, kernel
from loopline.models.runtimes.forest.parts import Parts, alone, parts_of
from loopline.models.runtimes.forest.proof import one_by_one, plain_rows, require_same, trial_rows
from loopline.models.runtimes.forest.shape import require, shape_of
from loopline.models.runtimes.forest.sums import sums_of
from loopline.models.tree_ensembles import table_of

Rows = npt.NDArray[np.float32]
Fed = Mapping[str, npt.NDArray[Any]]
# A session's own, below its Python: outputs by name, inputs by name, no options.
Run = Callable[[list[str], Fed, None], list[Any]]
Open = Callable[[ModelProto], Run]


@dataclass(frozen=True)
class Whole:
    """A model as ONNX Runtime runs it: `run` gives the outputs `wanted` for what `feed` makes of rows."""

    model: ModelProto
    inputs: Sequence[ort.NodeArg]
    run: Run
    wanted: list[str]
    feed: Callable[[Rows], Fed]

    @property
    def floats(self) -> bool:
        """Whether all that it takes is of single precision."""
        return all(one.type == "tensor(float)" for one in self.inputs)

    @property
    def fields(self) -> int | None:
        """How many fields rows have, where the model says so. Gives up with `NotTaken` where they are no rows."""
        if len(self.inputs) > 1:
            return len(self.inputs)
        shape = self.inputs[0].shape
        require(len(shape) == 2, "rows of another shape")  # noqa: PLR2004 - rows and fields
        return shape[1] if isinstance(shape[1], int) else None


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


def forest_of(whole: Whole, open_run: Open) -> Run | None:
    """What gives a model's outputs as `whole` does, bit for bit and faster; None where ONNX Runtime is to do it.

    That is where the library was not built here, where the model holds other than one ensemble of binary trees in single precision
    (or more than half a million nodes), and where one bit differs in the proof. The proof takes a few milliseconds; reading trees
    about as long as ONNX Runtime takes to open them.
    """
    if kernel() is None:
        return None
    try:
        return _proven(whole, open_run)
    except Exception:  # a file may come from anyone and say anything: whatever it is, ONNX Runtime decides
        return None


def _proven(whole: Whole, open_run: Open) -> Run:
    parts = parts_of(whole.model, whole.wanted)
    table = table_of(parts.ensemble)
    shape = shape_of(table)
    sums = sums_of(parts.ensemble, table, shape)
    if parts.before is None:
        require(whole.floats and len(whole.inputs) == 1, "other inputs")
    forest = Forest(flatten(shape, sums.target), sums, whole.fields if parts.before is None else None)
    only = parts.before is None and parts.after is None
    trees, gives = (whole.run, whole.wanted) if only else (open_run(alone(whole.model, parts)), [parts.gives])
    rows = trial_rows(shape, forest.fields)

    def walked(some: Rows) -> list[Any]:
        return [forest.outputs(some)]

    def reference(some: Rows) -> list[Any]:
        return trees(gives, {parts.takes: some}, None)

    require_same(walked, reference, rows)
    require_same(one_by_one(walked), reference, rows[::4], ())
    made = ForestRun(parts, forest, whole.run, open_run)
    if not only:
        rows = rows if parts.before is None else plain_rows(whole.fields, missing=whole.floats)
        require_same(
            lambda some: made.run(whole.wanted, whole.feed(some)),
            lambda some: whole.run(whole.wanted, whole.feed(some), None),
            rows,
        )
    return made.run
