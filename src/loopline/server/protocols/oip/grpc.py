"""The protocol over gRPC: from its messages to requests, and from answers to its messages."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from loopline.errors import InvalidInput
from loopline.server.protocols.oip.binary import decode_text, from_bytes, to_bytes
from loopline.server.protocols.oip.datatypes import DATATYPES, Datatype, datatype
from loopline.server.protocols.oip.messages import messages
from loopline.server.protocols.oip.tensors import (
    InferAnswer,
    InferRequest,
    RequestedOutput,
    Tensor,
    check_parameters,
    elements,
    refuse_element,
    refuse_size,
)


def decode(message: Any) -> InferRequest:
    """The request in a `ModelInferRequest`.

    Raises `InvalidInput`: oip.raw_contents, oip.not_typed, oip.unknown_datatype, oip.bad_shape, oip.bad_element, oip.bad_bytes,
    oip.not_spoken.
    """
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        _refuse_raw(f"there are {len(message.inputs)} inputs and {len(raw)} raw contents")
    inputs = tuple(_raw(one, raw[place]) if raw else _typed(one) for place, one in enumerate(message.inputs))
    outputs = tuple(_requested(one) for one in message.outputs)
    return InferRequest(inputs, message.id, _parameters(message.parameters), outputs, raw=bool(raw))


def encode(answer: InferAnswer, request: InferRequest) -> Any:
    """The `ModelInferResponse` of an answer, in raw contents where the request was."""
    message = messages()["ModelInferResponse"](model_name=answer.model, model_version=answer.version, id=answer.id)
    for name, value in answer.parameters.items():
        _set_parameter(message.parameters[name], value)
    for tensor in answer.outputs:
        said = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if request.raw:
            message.raw_output_contents.append(to_bytes(tensor.datatype, tensor.values))
        else:
            getattr(said.contents, DATATYPES[tensor.datatype].contents).extend(_contents(tensor))
    return message


def _raw(one: Any, content: bytes) -> Tensor:
    if one.HasField("contents"):
        _refuse_raw(f"input {one.name[:100]!r} has raw and typed contents")
    check_parameters(one.name, one.parameters)
    return from_bytes(one.name, datatype(one.datatype, one.name), tuple(one.shape), content)


def _typed(one: Any) -> Tensor:
    check_parameters(one.name, one.parameters)
    kind, shape = datatype(one.datatype, one.name), tuple(one.shape)
    count = elements(one.name, shape)
    if not kind.contents:
        raise InvalidInput(
            "oip.not_typed",
            f"input {one.name[:100]!r} of {kind.name} has no raw contents",
            remedy="The protocol has no typed contents for 16-bit floats: send them as raw_input_contents.",
        )
    found = getattr(one.contents, kind.contents)
    if len(found) != count:
        refuse_size(one.name, shape, len(found), f"elements in {kind.contents}")
    if kind.stored is None:
        return Tensor(one.name, kind.name, shape, [decode_text(one.name, text) for text in found])
    return Tensor(one.name, kind.name, shape, _numbers(one.name, kind, found, count))


def _numbers(name: str, kind: Datatype, found: Any, count: int) -> Any:
    if kind.bounds is None:
        return np.fromiter(found, dtype=np.uint8 if kind.name == "BOOL" else kind.stored, count=count)
    values = np.fromiter(found, dtype=np.uint64 if kind.name == "UINT64" else np.int64, count=count)
    low, high = kind.bounds
    if count and (values.min() < low or values.max() > high):
        refuse_element(name, kind.name, int(np.argmax((values < low) | (values > high))))
    return values


def _contents(tensor: Tensor) -> list[Any]:
    if tensor.datatype == "BYTES":
        return [(value or "").encode() for value in tensor.values]
    floats: list[Any] = np.asarray(tensor.values, dtype=DATATYPES[tensor.datatype].stored).tolist()
    return floats


def _requested(one: Any) -> RequestedOutput:
    check_parameters(one.name, one.parameters)
    return RequestedOutput(one.name)


def _parameters(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, choice) for name, value in found.items() if (choice := _choice(value))}


def _choice(value: Any) -> str:
    chosen: str | None = value.WhichOneof("parameter_choice")
    return chosen or ""


def _set_parameter(target: Any, value: Any) -> None:
    match value:
        case bool():
            target.bool_param = value
        case int() if -(1 << 63) <= value < 1 << 63:
            target.int64_param = value
        case int():
            target.uint64_param = value
        case float():
            target.double_param = value
        case _:
            target.string_param = str(value)


def _refuse_raw(what: str) -> None:
    raise InvalidInput(
        "oip.raw_contents", what, remedy="Send raw_input_contents for every input, in their order, or for none."
    )
