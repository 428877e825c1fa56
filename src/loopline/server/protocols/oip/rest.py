"""The protocol over REST: JSON, with tensors in it or, by Triton's extension, in binary behind it."""

from itertools import chain
from typing import Any, NoReturn

import msgspec
import numpy as np

from loopline.errors import InvalidInput
from loopline.server.protocols.lenient_json import decode_json
from loopline.server.protocols.oip.binary import from_bytes, to_bytes
from loopline.server.protocols.oip.datatypes import Datatype, datatype
from loopline.server.protocols.oip.tensors import (
    BINARY_OUTPUT,
    InferAnswer,
    InferRequest,
    RequestedOutput,
    Tensor,
    check_parameters,
    elements,
    refuse_element,
    refuse_size,
)

HEADER_LENGTH = b"inference-header-content-length"
_SIZE, _WANTED = "binary_data_size", "binary_data"


class InputTensor(msgspec.Struct, frozen=True):
    """An input as JSON has it; `data` is flat or nested, in row-major order, and absent where it follows in binary."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] | None = None


class OutputRequest(msgspec.Struct, frozen=True):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferenceBody(msgspec.Struct, frozen=True):
    """The JSON of an inference request."""

    inputs: list[InputTensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[OutputRequest] | None = None


_decoder = msgspec.json.Decoder(InferenceBody)
_encoder = msgspec.json.Encoder()


def decode(body: bytes, header_length: bytes | None = None) -> InferRequest:
    """The request in `body`. `header_length` is the header `Inference-Header-Content-Length`: how much of it is JSON.

    Raises `msgspec.DecodeError` for what is no such JSON, and `InvalidInput`: oip.bad_header_length, oip.bad_binary_size,
    oip.no_data, oip.unknown_datatype, oip.bad_shape, oip.bad_element, oip.bad_bytes, oip.not_spoken.
    """
    split = len(body) if header_length is None else _length(header_length, len(body))
    said = decode_json(body if split == len(body) else memoryview(body)[:split], _decoder)
    rest = memoryview(body)[split:]
    inputs, place = [], 0
    for one in said.inputs:
        size = _binary_size(one, len(rest) - place)
        if size is None:
            inputs.append(_from_json(one))
        else:
            kind, shape = datatype(one.datatype, one.name), tuple(one.shape)
            inputs.append(from_bytes(one.name, kind, shape, rest[place : place + size]))
            place += size
    if place != len(rest):
        _refuse_binary(f"{len(rest) - place} bytes behind the JSON belong to no input")
    parameters = said.parameters or {}
    wanted = tuple(_requested(one) for one in said.outputs or ())
    return InferRequest(tuple(inputs), said.id or "", parameters, wanted, binary=parameters.get(BINARY_OUTPUT) is True)


def encode(answer: InferAnswer, request: InferRequest) -> tuple[bytes, int | None]:
    """The body of an answer, and how much of it is JSON: None where it is all of it."""
    outputs: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for tensor in answer.outputs:
        said: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if request.wants_binary(tensor.name):
            parts.append(to_bytes(tensor.datatype, tensor.values))
            said["parameters"] = {_SIZE: len(parts[-1])}
        else:
            said["data"] = tensor.values.tolist() if isinstance(tensor.values, np.ndarray) else tensor.values
        outputs.append(said)
    body: dict[str, Any] = {"model_name": answer.model, "model_version": answer.version, "outputs": outputs}
    if answer.id:
        body["id"] = answer.id
    if answer.parameters:
        body["parameters"] = answer.parameters
    head = _encoder.encode(body)
    return (b"".join((head, *parts)), len(head)) if parts else (head, None)


def _from_json(one: InputTensor) -> Tensor:
    kind = datatype(one.datatype, one.name)
    count = elements(one.name, one.shape)
    if one.data is msgspec.UNSET:
        raise InvalidInput(
            "oip.no_data",
            f"input {one.name[:100]!r} has no data",
            remedy="Send its elements as data, or in binary with the parameter binary_data_size.",
        )
    values = _flat(one, one.data)
    if len(values) != count:
        refuse_size(one.name, one.shape, len(values))
    _check_elements(one.name, kind, values)
    if kind.name == "BOOL":
        # A model takes booleans as 0 and 1; the protocol has a datatype to say that this is what they are.
        values = [int(value) if isinstance(value, bool) else value for value in values]
    return Tensor(one.name, kind.name, tuple(one.shape), values)


def _flat(one: InputTensor, data: list[Any]) -> list[Any]:
    for size in one.shape[1:]:
        if not data or type(data[0]) is not list:
            break
        if any(type(part) is not list or len(part) != size for part in data):
            refuse_size(one.name, one.shape, len(data), "rows, not all of one length")
        data = list(chain.from_iterable(data))
    return data


def _check_elements(name: str, kind: Datatype, values: list[Any]) -> None:
    if not set(map(type, values)) <= kind.plain:
        refuse_element(name, kind.name, next(i for i, value in enumerate(values) if type(value) not in kind.plain))
    if kind.bounds is not None:
        low, high = kind.bounds
        outside = (place for place, value in enumerate(values) if value is not None and not low <= value <= high)
        for place in outside:
            refuse_element(name, kind.name, place)


def _requested(one: OutputRequest) -> RequestedOutput:
    parameters = one.parameters or {}
    check_parameters(one.name, parameters)
    return RequestedOutput(one.name, parameters.get(_WANTED) is True)


def _binary_size(one: InputTensor, left: int) -> int | None:
    if one.parameters is None:
        return None
    check_parameters(one.name, one.parameters)
    size = one.parameters.get(_SIZE)
    if size is None:
        return None
    if type(size) is not int or not 0 <= size <= left:
        _refuse_binary(f"input {one.name[:100]!r} says it has {str(size)[:20]} bytes, and {left} are left")
    if one.data is not msgspec.UNSET:
        _refuse_binary(f"input {one.name[:100]!r} has data in JSON and in binary")
    return size


def _length(header: bytes, size: int) -> int:
    if not header.isdigit() or len(header) > 20 or int(header) > size:  # noqa: PLR2004 - more digits than any length has
        raise InvalidInput(
            "oip.bad_header_length",
            "the header Inference-Header-Content-Length is not a number of bytes within the body",
            remedy="Send the length of the JSON in front of the binary tensors, in bytes.",
        )
    return int(header)


def _refuse_binary(what: str) -> NoReturn:
    raise InvalidInput(
        "oip.bad_binary_size",
        what,
        remedy="Send the tensors behind the JSON in the order of the inputs, each with its binary_data_size.",
    )
