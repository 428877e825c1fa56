"""ONNX models, run by ONNX Runtime on one thread, and by a library of our own where they are trees."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from google.protobuf.message import DecodeError, Message
from onnx import ModelProto, TensorProto

from loopline.errors import Corrupt, InvalidInput
from loopline.evaluation.kind import BINARY, Output
from loopline.models.runtimes.forest.opening import Run, Whole, forest_of
from loopline.models.runtimes.runtime import as_output, unreadable

_SUMS_TO_ONE = 1e-4
_FLOATS = ("tensor(float)", "tensor(double)")
_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


class OnnxModel:
    """A model in ONNX: one input of shape (n, k), or one of shape (n, 1) or (n,) for each of k fields, and an output of what
    `output` says.

    That is probabilities of shape (n, classes) for a classifier (or a list of maps from class to probability, as ZipMap makes
    them), else values of shape (n, 1) or (n,). One thread runs it, so that processes and not threads share out the cores. Safe to
    share between threads. Raises `Corrupt` for bytes that are no such model, and `InvalidInput` for one that would read other
    files or takes texts.
    """

    def __init__(self, content: bytes, output: Output = BINARY) -> None:
        model = _parse(content)
        _refuse_external_data(model)
        self._output = output
        session = _session(content)
        self._inputs = [_Input(found) for found in session.get_inputs()]
        self._outputs = _outputs_of(session, output)
        run, feed = _run_of(session), partial(_fed, self._inputs)
        self._run = forest_of(Whole(model, session.get_inputs(), run, self._outputs, feed), _opened) or run

    def outputs(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The outputs for float32 rows of shape (n, k): float64 of shape (n,), or (n, classes) for several classes."""
        found = self._run(self._outputs, _fed(self._inputs, matrix), None)
        if len(found) > 1:
            return np.column_stack([part.reshape(-1) for part in found]).astype(np.float64)
        return as_output(_as_array(found[0]), self._output)


class _Input:
    """An input: its name, its dtype, and whether it has a second axis."""

    def __init__(self, found: ort.NodeArg) -> None:
        if found.type not in _DTYPES:
            raise InvalidInput(
                "model.input_type",
                f"input {found.name!r} of the ONNX model takes {found.type}",
                remedy="Export a model whose inputs are numbers; encode texts before it.",
            )
        self.name, self.dtype, self._axes = str(found.name), _DTYPES[found.type], len(found.shape)

    def column(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.generic]:
        shaped = values[:, None] if self._axes > 1 else values
        return shaped.astype(self.dtype)


def _fed(inputs: list[_Input], matrix: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.generic]]:
    if len(inputs) == 1:
        return {inputs[0].name: matrix.astype(inputs[0].dtype, copy=False)}
    return {found.name: found.column(matrix[:, place]) for place, found in enumerate(inputs)}


def input_names(content: bytes) -> list[str]:
    """The names of a model's inputs. Raises as `OnnxModel`."""
    _refuse_external_data(_parse(content))
    return [_Input(found).name for found in _session(content).get_inputs()]


def probe(content: bytes, matrix: npt.NDArray[np.float32]) -> Output:
    """What a model in ONNX gives back, found by letting it score rows (n, k): classes by their names, or one number.

    Raises as `OnnxModel`, and `InvalidInput` "model.rows_refused" where it cannot score them.
    """
    _refuse_external_data(_parse(content))
    session = _session(content)
    try:
        found = session.run(None, _fed([_Input(found) for found in session.get_inputs()], matrix))
    except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
        raise InvalidInput(
            "model.rows_refused",
            f"the ONNX model does not score these rows: {str(error)[:200]}",
            remedy="Name the columns it takes, in its order, with --features.",
        ) from error
    return _guessed(found)


def _guessed(found: list[Any]) -> Output:
    for values in found:
        if isinstance(values, list) and values and isinstance(values[0], dict):
            names = tuple(str(name) for name in values[0])
            return BINARY if len(names) == 2 else Output("multiclass", names)  # noqa: PLR2004 - two classes
    for values in found:
        if isinstance(values, np.ndarray) and values.dtype.kind == "f" and values.ndim > 1 and values.shape[1] > 1:
            names = tuple(map(str, range(values.shape[1])))
            if not _are_probabilities(values):
                return Output("multioutput", targets=names)
            return BINARY if len(names) == 2 else Output("multiclass", names)  # noqa: PLR2004 - two classes
    alone = [values for values in found if isinstance(values, np.ndarray) and values.dtype.kind == "f"]
    return Output("multioutput", targets=tuple(map(str, range(len(alone))))) if len(alone) > 1 else Output("regression")


def _are_probabilities(values: npt.NDArray[np.floating[Any]]) -> bool:
    return bool((values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=_SUMS_TO_ONE))


def _as_array(found: Any) -> npt.NDArray[np.generic]:
    """Maps from class to probability as columns, in the order of their keys."""
    return np.array([list(row.values()) for row in found]) if isinstance(found, list) else found


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


def _run_of(session: ort.InferenceSession) -> Run:
    """The session below is what runs; the one above it looks for devices that are not there at every call."""
    run: Run = getattr(session, "_sess", session).run
    return run


def _opened(model: ModelProto) -> Run:
    return _run_of(_session(model.SerializeToString()))


def _outputs_of(session: ort.InferenceSession, output: Output) -> list[str]:
    """The output to read; of several targets all that have one number a row, where there are as many."""
    if output.kind == "multioutput":
        floats = [found for found in session.get_outputs() if found.type in _FLOATS]
        names = [str(found.name) for found in floats]
        if len(names) in {1, output.width}:
            return names
        raise Corrupt(
            "model.other_targets",
            f"the ONNX model has {len(names)} float outputs for {output.width} targets",
            remedy="Export one output of shape (n, targets), or one for each target.",
        )
    return [_output_of(session, output)]


def _output_of(session: ort.InferenceSession, output: Output) -> str:
    classes = output.kind in {"binary", "multiclass"}
    widths = range(2, max(2, len(output.classes)) + 1) if classes else range(1, 2)
    for found in session.get_outputs():
        shape = found.shape[1:]
        free = not classes if not shape else len(shape) == 1 and (shape[0] in widths or not isinstance(shape[0], int))
        if (found.type in _FLOATS and free) or (classes and found.type.startswith("seq(map(")):
            return str(found.name)
    if output.kind == "binary":  # a probability alone, as neural networks give it
        return _output_of(session, Output("regression"))
    raise Corrupt(
        "model.no_output",
        f"the ONNX model has no float output for a {output.kind} model",
        remedy="Export classifiers with probabilities, other models with one value a row.",
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
