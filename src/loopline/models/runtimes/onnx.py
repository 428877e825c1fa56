"""ONNX models, run by ONNX Runtime on one thread."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto

from loopline.errors import Corrupt, InvalidInput


class OnnxModel:
    """A binary classifier in ONNX: one float32 input of shape (n, k), an output of class probabilities (n, 2).

    One thread runs it, so that processes and not threads share out the cores. Safe to share between threads. Raises
    `Corrupt` for bytes that are no such model, and `InvalidInput` for one that would read other files.
    """

    def __init__(self, content: bytes) -> None:
        _refuse_external_data(_parse(content))
        self._session = _session(content)
        self._input = self._session.get_inputs()[0].name
        self._outputs = [_probabilities_output(self._session)]

    def probabilities(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The probability of the positive class, float64 of shape (n,), for float32 rows of shape (n, k)."""
        (both,) = self._session.run(self._outputs, {self._input: matrix})
        return both[:, 1].astype(np.float64)  # type: ignore[no-any-return]


def _parse(content: bytes) -> ModelProto:
    try:
        model: ModelProto = ModelProto.FromString(content)
    except DecodeError as error:
        raise _unreadable(error) from error
    return model


def _session(content: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> Corrupt:
    return Corrupt("model.unreadable", f"this is not an ONNX model that runs here: {error}", remedy="Package it again.")


def _probabilities_output(session: ort.InferenceSession) -> str:
    for output in session.get_outputs():
        if output.type == "tensor(float)" and len(output.shape) == 2 and output.shape[1] in (2, None):  # noqa: PLR2004 - two classes, two axes
            return str(output.name)
    raise Corrupt(
        "model.no_probabilities",
        "the ONNX model has no float output of shape (n, 2)",
        remedy="Export a binary classifier with probabilities and without ZipMap.",
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
