"""The Open Inference Protocol v2, JSON over REST (github.com/kserve/open-inference-protocol).

A request carries one tensor per column, of shape [n] or [n, 1]; row i is the i-th element of each. Where the protocol says
nothing: a missing value is `null` (JSON has no NaN), and text and times travel as BYTES.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import msgspec

from loopline.errors import InvalidInput
from loopline.models.explanation import Explanation
from loopline.scoring.contract import Contract
from loopline.scoring.record import Prediction

DATATYPES = frozenset(
    {"BOOL", "BYTES", "FP16", "FP32", "FP64"} | {f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
)
EXPLAIN = "explain"
OUTPUTS: Mapping[str, str] = {
    "score": "FP64",
    "decision": "BYTES",
    "prediction_id": "BYTES",
    "degraded": "BYTES",
    "action": "BYTES",
    "propensity": "FP64",
}


class InputTensor(msgspec.Struct, frozen=True):
    """One column of the rows; `data` is flat or nested, in row-major order."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] = {}


class RequestedOutput(msgspec.Struct, frozen=True):
    """An output the caller wants."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct, frozen=True):
    """The body of an inference request. `id` names the request for the caller and is echoed."""

    inputs: list[InputTensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[RequestedOutput] | None = None


_decoder = msgspec.json.Decoder(InferRequest)


def decode(body: bytes) -> InferRequest:
    """The request in `body`. Raises `msgspec.DecodeError` for what is none."""
    return _decoder.decode(body)


def rows(request: InferRequest) -> list[dict[str, Any]]:
    """The rows that the input tensors hold, one dict each.

    Raises `InvalidInput`: `oip.no_inputs`, `oip.duplicate_input`, `oip.unknown_datatype`, `oip.bad_shape`,
    `oip.different_lengths`.
    """
    if not request.inputs:
        raise InvalidInput("oip.no_inputs", "the request has no inputs", remedy="Send one tensor per column.")
    names = [tensor.name for tensor in request.inputs]
    if len(set(names)) < len(names):
        raise InvalidInput("oip.duplicate_input", "two inputs have one name", remedy="Send each column once.")
    columns = [_values(tensor) for tensor in request.inputs]
    if len({len(column) for column in columns}) > 1:
        lengths = ", ".join(f"{name}: {len(column)}" for name, column in zip(names, columns, strict=True))
        raise InvalidInput(
            "oip.different_lengths", f"the inputs differ in length: {lengths[:500]}", remedy="Send one element per row."
        )
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def wanted_outputs(request: InferRequest) -> list[str]:
    """The names of the outputs to answer with. Raises `InvalidInput` "oip.unknown_output"."""
    if not request.outputs:
        return list(OUTPUTS)
    names = [output.name for output in request.outputs]
    unknown = next((name for name in names if name not in OUTPUTS), None)
    if unknown is not None:
        raise InvalidInput(
            "oip.unknown_output", f"there is no output {unknown[:100]!r}", remedy=f"There are {', '.join(OUTPUTS)}."
        )
    return names


def wants_explanation(request: InferRequest) -> bool:
    """Whether the request has the parameter `"explain": true`."""
    return (request.parameters or {}).get(EXPLAIN) is True


def explanation_output(explanations: Sequence[Explanation | None]) -> dict[str, Any]:
    """The output `explanation`: for each row the JSON of its explanation, `null` where there is none."""
    data = [msgspec.json.encode(found).decode() for found in explanations]
    return {"name": "explanation", "datatype": "BYTES", "shape": [len(data)], "data": data}


def infer_response(
    model: str, version: int, request: InferRequest, predictions: Sequence[Prediction], outputs: Sequence[str]
) -> dict[str, Any]:
    """The answer, JSON-ready: each output a tensor of shape [n]; `degraded` is the codes of a row, joined by commas."""
    answer: dict[str, Any] = {
        "model_name": model,
        "model_version": str(version),
        "outputs": [_output(name, predictions) for name in outputs],
    }
    if request.id is not None:
        answer["id"] = request.id
    if request.parameters is not None:
        answer["parameters"] = request.parameters
    return answer


def model_metadata(model: str, version: int, contract: Contract) -> dict[str, Any]:
    """What the protocol tells of a model: its inputs and outputs."""
    kinds = {field.name: "FP64" if field.kind == "number" else "BYTES" for field in contract.given}
    return {
        "name": model,
        "versions": [str(version)],
        "platform": "onnx",
        "inputs": [_tensor(name, kinds.get(name, "BYTES")) for name in contract.columns],
        "outputs": [_tensor(name, datatype) for name, datatype in OUTPUTS.items()],
    }


def _tensor(name: str, datatype: str) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1]}


def _output(name: str, predictions: Sequence[Prediction]) -> dict[str, Any]:
    if name == "degraded":
        data: list[Any] = [",".join(prediction.degraded) for prediction in predictions]
    else:
        data = [getattr(prediction, name) for prediction in predictions]
    return {"name": name, "datatype": OUTPUTS[name], "shape": [len(data)], "data": data}


def _values(tensor: InputTensor) -> list[Any]:
    if tensor.datatype not in DATATYPES:
        raise InvalidInput(
            "oip.unknown_datatype",
            f"input {tensor.name[:100]!r} has the unknown datatype {tensor.datatype[:20]!r}",
            remedy=f"Use one of {', '.join(sorted(DATATYPES))}.",
        )
    data = tensor.data
    if tensor.shape[1:] == [1] and data and isinstance(data[0], list):
        data = [value[0] if isinstance(value, list) and len(value) == 1 else _refuse_shape(tensor) for value in data]
    if tensor.shape[1:] not in ([], [1]) or tensor.shape[:1] != [len(data)]:
        _refuse_shape(tensor)
    # A model takes booleans as 0 and 1; the protocol has a datatype to say that this is what they are.
    return [int(value) if isinstance(value, bool) else value for value in data] if tensor.datatype == "BOOL" else data


def _refuse_shape(tensor: InputTensor) -> NoReturn:
    raise InvalidInput(
        "oip.bad_shape",
        f"input {tensor.name[:100]!r} has {len(tensor.data)} elements, which is not its shape {tensor.shape[:8]}",
        remedy="Give every input the shape [n] or [n, 1], with n elements.",
    )
