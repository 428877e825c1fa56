"""Tensors as raw bytes, as Triton's binary extension and gRPC's raw contents have them: little-endian elements one after the
other; a BYTES element is its length (uint32) and then its bytes.
"""

from typing import Any

import numpy as np

from loopline.errors import InvalidInput
from loopline.server.protocols.oip.datatypes import DATATYPES, Datatype, widened
from loopline.server.protocols.oip.tensors import Tensor, Values, elements, refuse_size

_LENGTH = 4


def from_bytes(name: str, kind: Datatype, shape: tuple[int, ...], content: bytes | memoryview) -> Tensor:
    """The tensor in `content`; numbers are a view of it. Raises `InvalidInput`: oip.bad_shape, oip.bad_bytes."""
    count = elements(name, shape)
    if kind.stored is None:
        return Tensor(name, kind.name, shape, _texts(name, shape, bytes(content), count))
    if len(content) != count * kind.stored.itemsize:
        refuse_size(name, shape, len(content), f"bytes of {kind.name}")
    return Tensor(name, kind.name, shape, widened(np.frombuffer(content, dtype=kind.stored), kind))


def to_bytes(datatype: str, values: Values) -> bytes:
    """The bytes of `values`; None is NaN in a float, and an empty text."""
    stored = DATATYPES[datatype].stored
    if stored is not None:
        return np.asarray(values, dtype=stored).tobytes()
    parts: list[bytes] = []
    for value in values:
        encoded = (value or "").encode()
        parts += (len(encoded).to_bytes(_LENGTH, "little"), encoded)
    return b"".join(parts)


def decode_text(name: str, content: bytes) -> str:
    """Raises `InvalidInput` "oip.bad_bytes" for what is not UTF-8."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(
            "oip.bad_bytes",
            f"an element of input {name[:100]!r} is not text in UTF-8",
            remedy="Send keys, times and categories as UTF-8.",
        ) from error


def _texts(name: str, shape: tuple[int, ...], content: bytes, count: int) -> list[Any]:
    end = len(content)
    if count * _LENGTH > end:
        refuse_size(name, shape, end, "bytes, too few for the lengths of its elements")
    texts, place = [], 0
    for _ in range(count):
        start = place + _LENGTH
        place = start + int.from_bytes(content[place:start], "little")
        texts.append(content[start:place])
    if place != end:
        raise InvalidInput(
            "oip.bad_bytes",
            f"the lengths of the elements of input {name[:100]!r} do not add up to its {end} bytes",
            remedy="Before each element of BYTES comes its length in bytes, as a little-endian uint32.",
        )
    return [decode_text(name, text) for text in texts]
