"""How values cross from step to step: encoded by their type, named by the digest of their bytes, never pickled."""

import io
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from loopline.errors import InvalidInput
from loopline.storage.artifacts import ArtifactStore
from loopline.values import canonical_json, digest

SMALL = 4096
_ABSENT = b"null"


class Value(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value as rows keep it: its codec, the digest and size of its bytes, and the bytes themselves where they are few.

    `text` holds JSON, `data` anything else; without both the bytes are the artifact `digest`. A tuple of several values is its `parts`.
    """

    codec: str
    digest: str
    size: int = 0
    text: str | None = None
    data: bytes | None = None
    parts: tuple["Value", ...] = ()


class Several(tuple[Any, ...]):
    """Values that a step gives as a tuple, each to be kept by itself, where no annotation says so."""

    __slots__ = ()


class Codec(msgspec.Struct, frozen=True):
    """`encode` turns a value into bytes, equal ones for equal values; `decode` takes the bytes and the wanted type.

    `kinds` are the types it is for, as `module.qualname`; subclasses count.
    """

    name: str
    kinds: tuple[str, ...]
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes, Any], Any]


_CODECS: dict[str, Codec] = {}
_BY_KIND: dict[str, Codec] = {}


def register(codec: Codec) -> None:
    """Use `codec` for its types from now on. The module that declares the steps is the place to call it, since every process that runs them
    imports that. Raises `InvalidInput` "value.codec_taken" for a name of ours.
    """
    if codec.name in _OURS:
        raise InvalidInput(
            "value.codec_taken", f"the codec {codec.name!r} is there already", remedy="Name it differently."
        )
    _add(codec)


def keep(value: Any, artifacts: ArtifactStore) -> Value:
    """Encode a value. Where it is not small its bytes are durable in `artifacts` on return.

    Raises `InvalidInput` "value.no_codec" for a type that nothing encodes.
    """
    codec = _codec_of(value)
    if codec is not None:
        return _kept(codec.name, codec.encode(value), artifacts)
    try:
        content = canonical_json(value)
    except (TypeError, OverflowError, ValueError) as error:
        return _kept_otherwise(value, error, artifacts)
    if _ABSENT in content and _not_finite(value):
        return _kept("msgpack", msgspec.msgpack.encode(value, order="deterministic"), artifacts)
    return _kept("json", content, artifacts)


def has_codec(value: Any) -> bool:
    """Whether a value is kept by a codec of its own rather than as JSON."""
    return _codec_of(value) is not None


def kept_list(items: Sequence[Value], artifacts: ArtifactStore) -> Value:
    """A list whose elements are kept one by one, so that each can be read alone."""
    return _kept("list", msgspec.json.encode(items), artifacts)


def kept_parts(parts: Sequence[Value]) -> Value:
    """Several values that a step gives as a tuple: each is kept, found and read by itself."""
    return Value("tuple", digest(canonical_json([one.digest for one in parts])), parts=tuple(parts))


def bring(value: Value, wanted: Any, artifacts: ArtifactStore) -> Any:
    """The value, decoded as the type that is wanted. Raises `NotFound` and `Corrupt` as artifacts do, and `InvalidInput`
    "value.unreadable" where the bytes are not of that type.
    """
    if value.codec == "tuple":
        kinds = part_types(wanted, len(value.parts))
        return tuple(bring(one, kind, artifacts) for one, kind in zip(value.parts, kinds, strict=True))
    content = content_of(value, artifacts)
    if value.codec == "list":
        inner = element_type(wanted)
        return [bring(one, inner, artifacts) for one in msgspec.json.decode(content, type=list[Value])]
    if value.codec == "json":
        return _from_json(content, wanted)
    if value.codec not in _CODECS:
        raise InvalidInput(
            "value.codec_unknown",
            f"no codec {value.codec!r} is registered",
            remedy="Register it where the steps are declared.",
        )
    return _CODECS[value.codec].decode(content, wanted)


def content_of(value: Value, artifacts: ArtifactStore) -> bytes:
    """The encoded bytes."""
    if value.text is not None:
        return value.text.encode()
    return artifacts.get(value.digest) if value.data is None else value.data


def items_of(value: Value, artifacts: ArtifactStore) -> list[Value]:
    """The elements of a list, each as a value of its own. Raises `InvalidInput` "value.not_a_list"."""
    if value.codec == "tuple":
        return list(value.parts)
    content = content_of(value, artifacts)
    if value.codec == "list":
        return msgspec.json.decode(content, type=list[Value])
    found = bring(value, None, artifacts) if value.codec in {"json", "msgpack"} else None
    if not isinstance(found, list):
        raise InvalidInput(
            "value.not_a_list",
            "a value that is no list cannot be fanned out",
            remedy="Return a list from the step before `.each`.",
        )
    return [keep(one, artifacts) for one in found]


def artifacts_of(value: Value, artifacts: ArtifactStore) -> list[str]:
    """The digests of the artifacts that the value needs and that are there or not; of a list that is gone only its own."""
    if value.codec == "tuple":
        return [digest for one in value.parts for digest in artifacts_of(one, artifacts)]
    own = [] if value.text is not None or value.data is not None else [value.digest]
    if value.codec != "list" or (own and not artifacts.exists(value.digest)):
        return own
    return own + [digest for one in items_of(value, artifacts) for digest in artifacts_of(one, artifacts)]


def types_in(wanted: Any) -> tuple[Any, ...] | None:
    """What the values of a tuple of fixed length are, such as `tuple[int, str]`; None for any other annotation."""
    arguments = get_args(wanted)
    return arguments if get_origin(wanted) is tuple and arguments and Ellipsis not in arguments else None


def part_types(wanted: Any, count: int) -> tuple[Any, ...]:
    """The types of so many parts, as far as the annotation says them."""
    kinds = types_in(wanted)
    return kinds if kinds is not None and len(kinds) == count else (element_type(wanted),) * count


def element_type(wanted: Any) -> Any:
    """What the elements of a list type are; Any where it does not say."""
    arguments = get_args(wanted)
    if type(None) in arguments:
        return element_type(next(one for one in arguments if one is not type(None)))
    return arguments[0] if arguments and get_origin(wanted) is not None else Any


def _kept_otherwise(value: Any, error: Exception, artifacts: ArtifactStore) -> Value:
    """What JSON has no word for: keys that are no text, or a list of what has a codec of its own."""
    try:
        return _kept("msgpack", msgspec.msgpack.encode(value), artifacts)
    except (TypeError, OverflowError, ValueError):
        if isinstance(value, list | tuple):
            return kept_list([keep(one, artifacts) for one in value], artifacts)
        raise _no_codec(value) from error


def _kept(codec: str, content: bytes, artifacts: ArtifactStore) -> Value:
    name = digest(content)
    if len(content) > SMALL:
        return Value(codec, artifacts.put(content), len(content))
    if codec in {"json", "list"}:
        return Value(codec, name, len(content), text=content.decode())
    return Value(codec, name, len(content), data=content)


def _codec_of(value: Any) -> Codec | None:
    kind = type(value)
    if kind.__module__ == "builtins" and kind is not bytes:
        return None
    names = (f"{one.__module__}.{one.__qualname__}" for one in kind.__mro__)
    return next((_BY_KIND[name] for name in names if name in _BY_KIND), None)


def _from_json(content: bytes, wanted: Any) -> Any:
    try:
        return _decoder(wanted).decode(content)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            "value.unreadable",
            f"the value is no {getattr(wanted, '__name__', wanted)}: {error}",
            remedy="Let the annotations of both steps say what the value is.",
        ) from error


@lru_cache(maxsize=512)
def _decoder(wanted: Any) -> msgspec.json.Decoder[Any]:
    try:
        return msgspec.json.Decoder(Any if wanted is None else wanted)
    except (TypeError, NotImplementedError):
        return msgspec.json.Decoder()


def _from_msgpack(content: bytes, wanted: Any) -> Any:
    return msgspec.msgpack.decode(content, type=Any if wanted is None else wanted)


def _not_finite(value: Any) -> bool:
    """Whether it holds NaN or an infinity, which JSON has no word for."""
    plain = msgspec.to_builtins(value, str_keys=True)
    waiting = [plain]
    while waiting:
        one = waiting.pop()
        if isinstance(one, float) and (one - one != 0):
            return True
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
    return False


def _no_codec(value: Any) -> InvalidInput:
    kind = type(value)
    return InvalidInput(
        "value.no_codec",
        f"nothing encodes a {kind.__module__}.{kind.__qualname__}",
        remedy="Return a frame, an array, bytes, a dataclass or plain data; or register a codec: loopline.pipelines.codecs.register.",
    )


def _pandas_bytes(value: Any) -> bytes:
    encoded: bytes = import_module("loopline.pipelines.pandas_frames").encode_pandas(value)
    return encoded


def _pandas(content: bytes, _: Any) -> Any:
    return import_module("loopline.pipelines.pandas_frames").decode_pandas(content)


def _frame_bytes(value: Any) -> bytes:
    buffer = io.BytesIO()
    frame = value if type(value).__module__.startswith("polars") else import_module("polars").from_arrow(value)
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _frame(content: bytes, wanted: Any) -> Any:
    frame = import_module("polars").read_parquet(io.BytesIO(content))
    return frame.to_arrow() if "pyarrow" in getattr(wanted, "__module__", "") else frame


def _array_bytes(value: Any) -> bytes:
    buffer = io.BytesIO()
    if value.dtype.hasobject:
        raise _no_codec(value)
    import_module("numpy").save(buffer, value, allow_pickle=False)
    return buffer.getvalue()


def _array(content: bytes, _: Any) -> Any:
    return import_module("numpy").load(io.BytesIO(content), allow_pickle=False)


def _add(codec: Codec) -> None:
    _CODECS[codec.name] = codec
    for kind in codec.kinds:
        _BY_KIND[kind] = codec


for _codec in (
    Codec("bytes", ("builtins.bytes",), bytes, lambda content, _: content),
    Codec("parquet", ("polars.dataframe.frame.DataFrame", "pyarrow.lib.Table"), _frame_bytes, _frame),
    Codec(
        "pandas",
        ("pandas.DataFrame", "pandas.Series", "pandas.core.frame.DataFrame", "pandas.core.series.Series"),
        _pandas_bytes,
        _pandas,
    ),
    Codec("numpy", ("numpy.ndarray",), _array_bytes, _array),
    Codec("msgpack", (), msgspec.msgpack.encode, _from_msgpack),
):
    _add(_codec)
_OURS = {*_CODECS, "json", "list", "tuple"}


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function, resolved as far as they can be; `return` among them."""
    try:
        return get_type_hints(function)
    except (NameError, TypeError):
        return {}
