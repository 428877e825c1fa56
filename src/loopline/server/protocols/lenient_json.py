"""JSON as others write it: Python's own encoder writes NaN for a missing number, which JSON does not know."""

import json
from typing import Any, NoReturn, TypeVar

import msgspec

T = TypeVar("T")


def decode_json(content: bytes | memoryview, decoder: msgspec.json.Decoder[T]) -> T:
    """What `decoder` makes of `content`, a bare `NaN` in it read as null. Raises `msgspec.DecodeError` for anything else."""
    try:
        return decoder.decode(content)
    except msgspec.DecodeError:
        text = bytes(content)
        if b"NaN" not in text:
            raise
        found = _python_json(text)
    return msgspec.convert(found, decoder.type)


def _python_json(text: bytes) -> Any:
    try:
        return json.loads(text, parse_constant=_missing)
    except (ValueError, UnicodeDecodeError) as error:
        raise msgspec.DecodeError(str(error)[:300]) from error


def _missing(name: str) -> None:
    if name != "NaN":
        _refuse(name)


def _refuse(name: str) -> NoReturn:
    raise msgspec.DecodeError(f"{name} is no JSON")
