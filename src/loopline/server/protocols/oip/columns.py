"""From tensors to columns: one tensor a column, or one matrix that holds all the numbers a model is given."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from loopline.errors import InvalidInput
from loopline.models.signature import Field
from loopline.scoring.columns import Columns
from loopline.scoring.contract import Contract
from loopline.server.protocols.oip.tensors import InferRequest, Tensor, Values

_MATRIX = 2


@dataclass(frozen=True)
class Layout:
    """What an endpoint takes: the names of all columns of a row, and the fields that the caller brings, in the model's order."""

    names: AbstractSet[str]
    given: Sequence[Field]

    @classmethod
    def of(cls, contract: Contract) -> "Layout":
        """What a contract asks for."""
        return cls(frozenset(contract.columns), contract.given)

    @cached_property
    def matrix(self) -> tuple[str, ...] | None:
        """The fields a matrix holds, column by column; None where one of them is no number."""
        all_numbers = all(field.kind == "number" for field in self.given)
        return tuple(field.name for field in self.given) if self.given and all_numbers else None


def columns(request: InferRequest, layout: Layout) -> Columns:
    """The columns of a request's rows, all of one length.

    A tensor of shape [n] or [n, 1] is the column of its name. One of shape [n, k], of any name, holds the k given fields of a
    model that takes nothing but numbers, in its signature's order; key and time come as tensors of their own, or not at all
    where the endpoint fills them. Raises `InvalidInput`: oip.no_inputs, oip.dimensions, oip.duplicate_input,
    oip.different_lengths, oip.matrix_of_text, oip.matrix_width.
    """
    if not request.inputs:
        raise InvalidInput("oip.no_inputs", "the request has no inputs", remedy="Send one tensor per column.")
    found: dict[str, Values] = {}
    rows = request.inputs[0].shape[0]
    for tensor in request.inputs:
        if tensor.shape[0] != rows:
            _refuse_lengths(request)
        for name, values in _parts(tensor, layout):
            if name in found:
                raise InvalidInput(
                    "oip.duplicate_input", f"two inputs bring {name[:100]!r}", remedy="Send each column once."
                )
            found[name] = values
    matrix = next((one for one in request.inputs if len(one.shape) == _MATRIX and one.shape[1] > 1), None)
    if matrix is None or layout.matrix is None or not isinstance(matrix.values, np.ndarray):
        return Columns(found, rows)
    return Columns(found, rows, matrix=(layout.matrix, matrix.values.reshape(matrix.shape)))


def _parts(tensor: Tensor, layout: Layout) -> Sequence[tuple[str, Values]]:
    if len(tensor.shape) > _MATRIX:
        raise InvalidInput(
            "oip.dimensions",
            f"input {tensor.name[:100]!r} has {len(tensor.shape)} dimensions",
            remedy="Give a column the shape [n] or [n, 1], all numbers at once the shape [n, k].",
        )
    flat = tensor.shape[1:] in ((), (1,))
    if flat and (tensor.name in layout.names or layout.matrix is None or len(layout.matrix) != 1):
        return [(tensor.name, tensor.values)]
    return _split(tensor, layout)


def _split(tensor: Tensor, layout: Layout) -> Sequence[tuple[str, Values]]:
    fields = layout.matrix
    if fields is None or tensor.datatype == "BYTES":
        raise InvalidInput(
            "oip.matrix_of_text",
            f"input {tensor.name[:100]!r} is a matrix, but this endpoint takes more than numbers",
            remedy=f"Send one tensor of shape [n] for each of {', '.join(sorted(layout.names))}.",
        )
    width = tensor.shape[1] if len(tensor.shape) == _MATRIX else 1
    if width != len(fields):
        raise InvalidInput(
            "oip.matrix_width",
            f"input {tensor.name[:100]!r} has {width} columns, the model takes {len(fields)} numbers",
            remedy=f"Give the matrix these columns, in this order: {', '.join(fields)}.",
        )
    if isinstance(tensor.values, np.ndarray):
        matrix = tensor.values.reshape(tensor.shape[0], width)
        return [(name, matrix[:, place]) for place, name in enumerate(fields)]
    return [(name, tensor.values[place::width]) for place, name in enumerate(fields)]


def _refuse_lengths(request: InferRequest) -> None:
    lengths = ", ".join(f"{tensor.name}: {tensor.shape[0]}" for tensor in request.inputs)
    raise InvalidInput(
        "oip.different_lengths", f"the inputs differ in length: {lengths[:500]}", remedy="Send one element per row."
    )
