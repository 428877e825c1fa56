"""The protocol's gRPC messages, in a descriptor pool of our own.

Generated code registers its messages in protobuf's one default pool, and two packages that each bring this protocol break each
other there. Nothing of ours is registered where a user's own imports could meet it.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from loopline.errors import InvalidInput

SERVICE = "inference.GRPCInferenceService"

_PACKAGE = "inference"
# Numbers of the types and labels of fields, as protobuf's own descriptor.proto has them.
_SCALARS = {
    "double": 1,
    "float": 2,
    "int64": 3,
    "uint64": 4,
    "int32": 5,
    "bool": 8,
    "string": 9,
    "bytes": 12,
    "uint32": 13,
}
_MESSAGE, _OPTIONAL, _REPEATED = 11, 1, 3

# A field is written "number type name"; + is repeated, % a map from text to it, ? one of several (`parameter_choice`).
_TENSOR = (
    "1 string name",
    "2 string datatype",
    "3 +int64 shape",
    "4 %InferParameter parameters",
    "5 InferTensorContents contents",
)
_NAMED = ("1 string name", "2 string version")
# Field 1 is the repository's name in Triton's messages and the model's in KServe's, which answers with what came of it.
_CHANGE = ("1 string repository_name", "2 string model_name", "3 %ModelRepositoryParameter parameters")
_MESSAGES: Mapping[str, tuple[str, ...]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("1 bool live",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("1 bool ready",),
    "ModelReadyRequest": _NAMED,
    "ModelReadyResponse": ("1 bool ready",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": (*_NAMED, "3 +string extensions"),
    "ModelMetadataRequest": _NAMED,
    "ModelMetadataResponse.TensorMetadata": ("1 string name", "2 string datatype", "3 +int64 shape"),
    "ModelMetadataResponse": (
        "1 string name",
        "2 +string versions",
        "3 string platform",
        "4 +ModelMetadataResponse.TensorMetadata inputs",
        "5 +ModelMetadataResponse.TensorMetadata outputs",
    ),
    "InferParameter": (
        "1 ?bool bool_param",
        "2 ?int64 int64_param",
        "3 ?string string_param",
        "4 ?double double_param",
        "5 ?uint64 uint64_param",
    ),
    "InferTensorContents": (
        "1 +bool bool_contents",
        "2 +int32 int_contents",
        "3 +int64 int64_contents",
        "4 +uint32 uint_contents",
        "5 +uint64 uint64_contents",
        "6 +float fp32_contents",
        "7 +double fp64_contents",
        "8 +bytes bytes_contents",
    ),
    "ModelInferRequest.InferInputTensor": _TENSOR,
    "ModelInferRequest.InferRequestedOutputTensor": ("1 string name", "2 %InferParameter parameters"),
    "ModelInferRequest": (
        "1 string model_name",
        "2 string model_version",
        "3 string id",
        "4 %InferParameter parameters",
        "5 +ModelInferRequest.InferInputTensor inputs",
        "6 +ModelInferRequest.InferRequestedOutputTensor outputs",
        "7 +bytes raw_input_contents",
    ),
    "ModelInferResponse.InferOutputTensor": _TENSOR,
    "ModelInferResponse": (
        "1 string model_name",
        "2 string model_version",
        "3 string id",
        "4 %InferParameter parameters",
        "5 +ModelInferResponse.InferOutputTensor outputs",
        "6 +bytes raw_output_contents",
    ),
    "ModelRepositoryParameter": (
        "1 ?bool bool_param",
        "2 ?int64 int64_param",
        "3 ?string string_param",
        "4 ?bytes bytes_param",
    ),
    "RepositoryIndexRequest": ("1 string repository_name", "2 bool ready"),
    "RepositoryIndexResponse.ModelIndex": (*_NAMED, "3 string state", "4 string reason"),
    "RepositoryIndexResponse": ("1 +RepositoryIndexResponse.ModelIndex models",),
    "RepositoryModelLoadRequest": _CHANGE,
    "RepositoryModelLoadResponse": ("1 string model_name", "2 bool isLoaded"),
    "RepositoryModelUnloadRequest": _CHANGE,
    "RepositoryModelUnloadResponse": ("1 string model_name", "2 bool isUnloaded"),
}
METHODS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
)


@cache
def messages() -> Mapping[str, Any]:
    """Message classes by name; one inside another as `ModelInferRequest.InferInputTensor`. The first call loads protobuf, which a
    process that speaks no gRPC does without.
    """
    file = import_module("google.protobuf.descriptor_pb2").FileDescriptorProto(
        name="loopline/inference.proto", package=_PACKAGE, syntax="proto3"
    )
    made: dict[str, Any] = {}
    for name in sorted(_MESSAGES, key=lambda one: one.count(".")):  # a message before those inside it
        outer, _, inner = name.rpartition(".")
        made[name] = (made[outer].nested_type if outer else file.message_type).add(name=inner)
        for said in _MESSAGES[name]:
            _add_field(made[name], name, said)
    pool = import_module("google.protobuf.descriptor_pool").DescriptorPool()
    pool.Add(file)
    class_of = import_module("google.protobuf.message_factory").GetMessageClass
    return {name: class_of(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES}


def parse(name: str, content: bytes) -> Any:
    """The message of that name in `content`. Raises `InvalidInput` "oip.bad_message" for what is none."""
    kind = messages()[name]
    try:
        return kind.FromString(content)
    except Exception as error:  # protobuf's own, which is not imported here; whatever it is, it is about the bytes
        raise InvalidInput(
            "oip.bad_message",
            f"the body is no {name}",
            remedy="Use the messages of the Open Inference Protocol, package `inference`.",
        ) from error


def _add_field(message: Any, owner: str, said: str) -> None:
    number, kind, name = said.split()
    field = message.field.add(name=name, number=int(number), label=_OPTIONAL)
    sign, kind = (kind[0], kind[1:]) if kind[0] in "+%?" else ("", kind)
    if sign == "%":
        kind = _add_entry(message, owner, name, kind)
    if sign in {"+", "%"}:
        field.label = _REPEATED
    if sign == "?":
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
    _set_type(field, kind)


def _add_entry(message: Any, owner: str, name: str, kind: str) -> str:
    """The message that protobuf makes of a map's pairs; gives its name."""
    entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
    entry.options.map_entry = True
    _set_type(entry.field.add(name="key", number=1, label=_OPTIONAL), "string")
    _set_type(entry.field.add(name="value", number=2, label=_OPTIONAL), kind)
    return f"{owner}.{entry.name}"


def _set_type(field: Any, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _MESSAGE, f".{_PACKAGE}.{kind}"
