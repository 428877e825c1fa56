"""ONNX models, run by ONNX Runtime on one thread."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto

from loopline.errors import Corrupt, InvalidInput
from loopline.evaluation.kind import BINARY, Output
from loopline.models.runtimes.runtime import as_output, unreadable

_FLOATS = ("tensor(float)", "tensor(double)")


class OnnxModel:
    """A model in ONNX: one float32 input of shape (n, k), and an output of what `output` says.

    That is probabilities of shape (n, classes) for a classifier, else values of shape (n, 1) or (n,). One thread runs it, so that
    processes and not threads share out the cores. Safe to share between threads. Raises `Corrupt` for bytes that are no such
    model, and `InvalidInput` for one that would read other files.
    """

    def __init__(self, content: bytes, output: Output = BINARY) -> None:
        _refuse_external_data(_parse(content))
        self._output = output
        self._session = _session(content)
        self._input = self._session.get_inputs()[0].name
        self._outputs = [_output_of(self._session, output)]

    def outputs(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The outputs for float32 rows of shape (n, k): float64 of shape (n,), or (n, classes) for several classes."""
        (found,) = self._session.run(self._outputs, {self._input: matrix})
        return as_output(found, self._output)


def _parse(content: bytes) -> ModelProto:
    try:
        model: ModelProto = ModelProto.FromString(content)
    except DecodeError as error:
        raise unreadable("ONNX Runtime", error, "Package it again.") from error
    return model


def _session(content: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
        raise unreadable("ONNX Runtime", error, "Package it again.") from error


def _output_of(session: ort.InferenceSession, output: Output) -> str:
    classes = output.kind in {"binary", "multiclass"}
    widths = range(2, max(2, len(output.classes)) + 1) if classes else range(1, 2)
    for found in session.get_outputs():
        shape = found.shape[1:]
        free = not classes if not shape else len(shape) == 1 and (shape[0] in widths or not isinstance(shape[0], int))
        if found.type in _FLOATS and free:
            return str(found.name)
    raise Corrupt(
        "model.no_output",
        f"the ONNX model has no float output for a {output.kind} model",
        remedy="Export classifiers with probabilities and without ZipMap, other models with one value a row.",
    )


def _refuse_external_data(model: ModelProto) -> None:
    # CVE-2026-27489: a tensor's data may be a path to any file. Ours hold their data themselves.
    for tensor in _tensors(model):
        if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:
            raise InvalidInput(
                "model.external_data",
                f"tensor {tensor.name!r} of the ONNX model lies in another file",
                remedy="Save the model with all its data inside.",
                tensor=tensor.name,
            )


def _tensors(message: Message) -> Iterator[TensorProto]:
    """Every tensor anywhere in `message`: initializers, attributes, subgraphs, functions, training graphs."""
    if isinstance(message, TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in value if field.is_repeated else [value]:
                yield from _tensors(part)
