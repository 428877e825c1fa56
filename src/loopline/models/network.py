"""A neural network of plain layers: described in JSON, its weights in safetensors, run as ONNX. No pickle, and no torch to serve."""

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper
from scipy.special import erf, expit, softmax

from loopline.errors import Corrupt, InvalidInput

Op = Literal[
    "linear", "batch_norm", "layer_norm", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid", "softmax"
]
Floats = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float32]

_LAYERS = "loopline.layers"
_METADATA = "__metadata__"
_HEADER = struct.Struct("<Q")
_DTYPES: Mapping[str, str] = {"F32": "<f4", "F64": "<f8", "F16": "<f2"}
_OPSET, _IR_VERSION = 20, 9


class Layer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One layer. `tensors` names its weights: of "linear" the weight (outputs, inputs) and the bias (outputs,), of norms the weight
    and the bias, of "batch_norm" the mean and the variance besides. `number` is the epsilon of a norm, the slope of
    "leaky_relu", the alpha of "elu".
    """

    op: Op
    tensors: tuple[str, ...] = ()
    number: float = 0.0


@dataclass(frozen=True)
class Network:
    """Layers in the order in which they run, and their weights, float32, by name.

    Raises `InvalidInput` "network.shapes" where they do not fit each other.
    """

    layers: tuple[Layer, ...]
    weights: Mapping[str, Weights]

    def __post_init__(self) -> None:
        width: int | None = None
        for place, layer in enumerate(self.layers):
            shapes = [self.weights[name].shape if name in self.weights else None for name in layer.tensors]
            if not _fits(layer, shapes, width):
                raise InvalidInput(
                    "network.shapes",
                    f"layer {place} ({layer.op}) has weights of shapes {shapes}, and takes {width} numbers a row",
                    remedy="Give each layer as many numbers as the layer before it gives.",
                )
            width = shapes[0][0] if shapes and shapes[0] else width
        if width is None:
            raise InvalidInput(
                "network.no_weights", "the network has no layer with weights", remedy="Add a linear layer."
            )

    @property
    def features(self) -> int:
        """How many numbers a row has that it takes."""
        first = next(layer for layer in self.layers if layer.tensors)
        return int(self.weights[first.tensors[0]].shape[-1])

    @property
    def width(self) -> int:
        """How many numbers it gives for a row."""
        last = [layer for layer in self.layers if layer.tensors][-1]
        return int(self.weights[last.tensors[0]].shape[0])

    def outputs(self, rows: npt.NDArray[np.float32]) -> Floats:
        """What the last layer gives for rows (n, features), computed in float64: shape (n, outputs)."""
        found: Floats = rows.astype(np.float64)
        for layer in self.layers:
            found = _COMPUTED[layer.op](found, [self.weights[name].astype(np.float64) for name in layer.tensors], layer)
        return found

    def to_onnx(self) -> bytes:
        """As ONNX: input `rows` float32 (n, features), output `outputs` float32 (n, outputs)."""
        nodes: list[Any] = []
        name = "rows"
        for place, layer in enumerate(self.layers):
            given, name = name, "outputs" if place == len(self.layers) - 1 else f"layer_{place}"
            if layer.op == "silu":  # no operator of ONNX by itself
                gate = f"{name}_gate"
                nodes += [helper.make_node("Sigmoid", [given], [gate]), helper.make_node("Mul", [given, gate], [name])]
                continue
            op, inputs, attributes = _WRITTEN[layer.op](layer)
            nodes.append(helper.make_node(op, [given, *inputs], [name], **attributes))
        graph = helper.make_graph(
            nodes,
            "network",
            [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, self.features])],
            [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, [None, None])],
            [numpy_helper.from_array(array, name) for name, array in sorted(self.weights.items())],
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="loopline")
        return bytes(model.SerializeToString(deterministic=True))

    def to_safetensors(self) -> bytes:
        """The weights in safetensors, the layers in its metadata: the same bytes for the same network."""
        told = json.dumps(msgspec.to_builtins(self.layers), sort_keys=True)
        header: dict[str, Any] = {_METADATA: {_LAYERS: told, "format": "pt"}}
        at, parts = 0, []
        for name, array in sorted(self.weights.items()):
            part = np.ascontiguousarray(array, dtype="<f4").tobytes()
            header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + len(part)]}
            parts.append(part)
            at += len(part)
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return _HEADER.pack(len(text)) + text + b"".join(parts)


def read_network(content: bytes) -> Network:
    """The network in safetensors with our metadata. Raises `Corrupt` for what is none, `InvalidInput` as `Network`, and
    "network.no_layers" for weights without a description.
    """
    try:
        (length,) = _HEADER.unpack_from(content)
        header = json.loads(content[_HEADER.size : _HEADER.size + length])
        data = content[_HEADER.size + length :]
        told = header.pop(_METADATA, {}).get(_LAYERS)
        weights = {name: _tensor(fact, data) for name, fact in header.items()}
        layers = None if told is None else msgspec.json.decode(told, type=tuple[Layer, ...])
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, msgspec.DecodeError) as error:
        raise Corrupt(
            "network.unreadable", f"this is no network in safetensors: {str(error)[:200]}", remedy="Save it again."
        ) from error
    if layers is None:
        raise InvalidInput(
            "network.no_layers",
            "these are weights without a description of the layers that they belong to",
            remedy="Save the network by loopline.save_network(module, path).",
        )
    return Network(layers, weights)


def save_network(module: Any, path: str | Path) -> None:
    """Write a torch module of plain layers (`network_of` says which) as safetensors that `loopline serve` takes."""
    Path(path).write_bytes(network_of(module).to_safetensors())


def network_of(module: Any) -> Network:
    """The network that a torch module is: an `nn.Sequential`, of others too, of Linear, BatchNorm1d, LayerNorm, ReLU, LeakyReLU, ELU,
    GELU, SiLU, Tanh, Sigmoid, Softmax, Dropout and Identity. Raises `InvalidInput` "network.unknown_layer" for any other.
    """
    layers: list[Layer] = []
    weights: dict[str, Weights] = {}
    for place, part in enumerate(_flat(module)):
        name = type(part).__name__
        if name in {"Dropout", "Identity"}:
            continue
        if name not in _READ or not _plain(part):
            raise InvalidInput(
                "network.unknown_layer",
                f"layer {place} is a {name} that is not known, or set up as none is here",
                remedy=f"Use {', '.join(sorted(_READ))} over one axis, or export the module to ONNX.",
            )
        op, number, tensors = _READ[name]
        named = {f"{place}.{tensor}": _array(part, tensor) for tensor in tensors}
        weights |= named
        layers.append(Layer(op, tuple(named), float(getattr(part, number)) if number else 0.0))
    return Network(tuple(layers), weights)


# Of each class of torch.nn: the layer, its number, its weights.
_READ: Mapping[str, tuple[Op, str, tuple[str, ...]]] = {
    "Linear": ("linear", "", ("weight", "bias")),
    "BatchNorm1d": ("batch_norm", "eps", ("weight", "bias", "running_mean", "running_var")),
    "LayerNorm": ("layer_norm", "eps", ("weight", "bias")),
    "ReLU": ("relu", "", ()),
    "LeakyReLU": ("leaky_relu", "negative_slope", ()),
    "ELU": ("elu", "alpha", ()),
    "GELU": ("gelu", "", ()),
    "SiLU": ("silu", "", ()),
    "Tanh": ("tanh", "", ()),
    "Sigmoid": ("sigmoid", "", ()),
    "Softmax": ("softmax", "", ()),
}


def _flat(module: Any) -> Iterator[Any]:
    if type(module).__name__ != "Sequential":
        yield module
        return
    for part in module.children():
        yield from _flat(part)


def _plain(part: Any) -> bool:
    return (
        getattr(part, "dim", -1) in {-1, 1}
        and getattr(part, "approximate", "none") == "none"
        and len(getattr(part, "normalized_shape", (0,))) == 1
        and getattr(part, "track_running_stats", True)
    )


def _array(part: Any, tensor: str) -> Weights:
    """A weight as float32; of a layer without one, what does nothing."""
    found = getattr(part, tensor)
    if found is not None:
        return np.asarray(found.detach().cpu().numpy(), dtype=np.float32)
    width = getattr(part, "out_features", None) or getattr(part, "num_features", None) or part.normalized_shape[0]
    return np.full(width, 1.0 if tensor == "weight" else 0.0, dtype=np.float32)


def _tensor(fact: Mapping[str, Any], data: bytes) -> Weights:
    begin, end = fact["data_offsets"]
    found = np.frombuffer(data[begin:end], dtype=_DTYPES[fact["dtype"]]).reshape(fact["shape"])
    return found.astype(np.float32)


def _fits(layer: Layer, shapes: list[tuple[int, ...] | None], width: int | None) -> bool:
    if len(shapes) != {"linear": 2, "batch_norm": 4, "layer_norm": 2}.get(layer.op, 0) or None in shapes:
        return False
    if not shapes:
        return True
    first = shapes[0] or ()
    vectors = shapes[1:] if layer.op == "linear" else shapes
    axes = 2 if layer.op == "linear" else 1
    return len(first) == axes and all(one == first[:1] for one in vectors) and width in {None, first[-1]}


def _normed(found: Floats, weights: list[Floats], layer: Layer) -> Floats:
    scale, shift, *kept = weights
    mean = kept[0] if kept else found.mean(axis=1, keepdims=True)
    variance = kept[1] if kept else found.var(axis=1, keepdims=True)
    made: Floats = (found - mean) / np.sqrt(variance + layer.number) * scale + shift
    return made


_COMPUTED: Mapping[Op, Callable[[Floats, list[Floats], Layer], Floats]] = {
    "linear": lambda found, weights, _: found @ weights[0].T + weights[1],
    "batch_norm": _normed,
    "layer_norm": _normed,
    "relu": lambda found, _, __: np.maximum(found, 0),
    "leaky_relu": lambda found, _, layer: np.where(found >= 0, found, layer.number * found),
    "elu": lambda found, _, layer: np.where(found >= 0, found, layer.number * np.expm1(np.minimum(found, 0))),
    "gelu": lambda found, _, __: found * (1 + erf(found / np.sqrt(2))) / 2,
    "silu": lambda found, _, __: found * expit(found),
    "tanh": lambda found, _, __: np.tanh(found),
    "sigmoid": lambda found, _, __: expit(found),
    "softmax": lambda found, _, __: softmax(found, axis=1),
}

_Node = tuple[str, tuple[str, ...], dict[str, Any]]
_WRITTEN: Mapping[Op, Callable[[Layer], _Node]] = {
    "linear": lambda layer: ("Gemm", layer.tensors, {"transB": 1}),
    "batch_norm": lambda layer: ("BatchNormalization", layer.tensors, {"epsilon": layer.number}),
    "layer_norm": lambda layer: ("LayerNormalization", layer.tensors, {"epsilon": layer.number, "axis": -1}),
    "relu": lambda _: ("Relu", (), {}),
    "leaky_relu": lambda layer: ("LeakyRelu", (), {"alpha": layer.number}),
    "elu": lambda layer: ("Elu", (), {"alpha": layer.number}),
    "gelu": lambda _: ("Gelu", (), {}),
    "tanh": lambda _: ("Tanh", (), {}),
    "sigmoid": lambda _: ("Sigmoid", (), {}),
    "softmax": lambda _: ("Softmax", (), {"axis": -1}),
}
