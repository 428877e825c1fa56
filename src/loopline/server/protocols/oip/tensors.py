"""Requests and answers of the protocol, whatever their encoding: named tensors, flat and in row-major order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, NoReturn

import msgspec
import numpy.typing as npt

from loopline.errors import InvalidInput

Values = list[Any] | npt.NDArray[Any]
"""The elements of a tensor: numbers in an array or a list, text as `str`, None (in a list) or NaN where there is no value."""

EXPLAIN = "explain"
BINARY_OUTPUT = "binary_data_output"

_NOT_SPOKEN = frozenset({"shared_memory_region", "classification"})


class Tensor(msgspec.Struct, frozen=True, gc=False):
    """`values` holds as many elements as `shape` says."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Values


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that the caller wants, and whether in binary."""

    name: str
    binary: bool = False


@dataclass(frozen=True, slots=True)
class InferRequest:
    """One inference request. `id` names it for the caller and is echoed; `raw` says that it came with raw contents (gRPC), and
    that its answer has them, too; `binary` that outputs come in binary where nothing else is said of one (REST).
    """

    inputs: tuple[Tensor, ...]
    id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[RequestedOutput, ...] = ()
    raw: bool = False
    binary: bool = False

    @property
    def explains(self) -> bool:
        """Whether it has the parameter `"explain": true`."""
        return self.parameters.get(EXPLAIN) is True

    def wants_binary(self, output: str) -> bool:
        """Whether an output is to come in binary."""
        asked = next((one for one in self.outputs if one.name == output), None)
        return self.binary if asked is None else asked.binary


@dataclass(frozen=True, slots=True)
class InferAnswer:
    """The outputs of one request, by a model and its version."""

    model: str
    version: str
    outputs: tuple[Tensor, ...]
    id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


def elements(name: str, shape: Sequence[int]) -> int:
    """How many elements a tensor of `shape` has. Raises `InvalidInput` "oip.bad_shape" for no or for negative dimensions."""
    if len(shape) == 1 and shape[0] >= 0:
        return shape[0]
    if not shape or min(shape) < 0:
        raise InvalidInput(
            "oip.bad_shape",
            f"input {name[:100]!r} has the impossible shape {list(shape[:8])}",
            remedy="Give a column the shape [n] or [n, 1], with n elements.",
        )
    return prod(shape)


def refuse_size(name: str, shape: Sequence[int], found: int, unit: str = "elements") -> NoReturn:
    """Raise that a tensor holds another amount than its shape says."""
    raise InvalidInput(
        "oip.bad_shape",
        f"input {name[:100]!r} has {found} {unit}, which is not its shape {list(shape[:8])}",
        remedy="Give a column the shape [n] or [n, 1], with n elements.",
    )


def answer_parameters(request: InferRequest) -> dict[str, Any]:
    """What an answer repeats of its request's parameters: all but those that say how to encode it."""
    return {name: value for name, value in request.parameters.items() if name != BINARY_OUTPUT}


def refuse_element(name: str, datatype: str, place: int) -> NoReturn:
    """Raise that an element is not of its tensor's datatype."""
    raise InvalidInput(
        "oip.bad_element",
        f"element {place} of input {name[:100]!r} is no {datatype}",
        remedy="Send elements of the datatype, and null where there is no value.",
        element=place,
    )


def check_parameters(name: str, parameters: Iterable[str]) -> None:
    """Raise `InvalidInput` "oip.not_spoken" where a tensor's parameters ask for an extension that changes what it means."""
    if not _NOT_SPOKEN.isdisjoint(parameters):
        raise InvalidInput(
            "oip.not_spoken",
            f"{name[:100]!r} asks for shared memory or classification, which are not spoken here",
            remedy="Send tensors with the request, and choose classes from the output `outputs`.",
        )
