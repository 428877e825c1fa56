"""The datatypes of tensors: what an element is in memory, in JSON, and in gRPC's typed contents."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Datatype:
    """`stored` is an element's little-endian dtype in binary (None for BYTES, whose elements have a length each), `contents` the
    field of gRPC's typed contents (empty where the protocol has none), `plain` the types that a JSON element may have, `bounds`
    the least and the greatest whole number (None for what is no whole number).
    """

    name: str
    stored: np.dtype[Any] | None
    contents: str
    plain: frozenset[Any]
    bounds: tuple[int, int] | None = None


_NONE: Any = type(None)
_FLOAT: frozenset[Any] = frozenset({float, int, _NONE})
_WHOLE: frozenset[Any] = frozenset({int, _NONE})


def _sized(sign: str, bits: int) -> Datatype:
    field = f"{'uint' if sign else 'int'}{'64' if bits == 64 else ''}_contents"  # noqa: PLR2004 - 64 bits have a field of their own
    stored = np.dtype(f"<{'u' if sign else 'i'}{bits // 8}")
    bounds = np.iinfo(stored)
    return Datatype(f"{sign}INT{bits}", stored, field, _WHOLE, (int(bounds.min), int(bounds.max)))


_ALL = (
    Datatype("BOOL", np.dtype("?"), "bool_contents", frozenset({bool, int, _NONE})),
    *(_sized(sign, bits) for sign in ("U", "") for bits in (8, 16, 32, 64)),
    Datatype("FP16", np.dtype("<f2"), "", _FLOAT),
    Datatype("BF16", np.dtype("<u2"), "", _FLOAT),
    Datatype("FP32", np.dtype("<f4"), "fp32_contents", _FLOAT),
    Datatype("FP64", np.dtype("<f8"), "fp64_contents", _FLOAT),
    Datatype("BYTES", None, "bytes_contents", frozenset({str, _NONE})),
)
DATATYPES: Mapping[str, Datatype] = {found.name: found for found in _ALL}


def datatype(name: str, tensor: str) -> Datatype:
    """Raises `InvalidInput` "oip.unknown_datatype"."""
    found = DATATYPES.get(name)
    if found is None:
        raise InvalidInput(
            "oip.unknown_datatype",
            f"input {tensor[:100]!r} has the unknown datatype {name[:20]!r}",
            remedy=f"Use one of {', '.join(DATATYPES)}.",
        )
    return found


def widened(values: npt.NDArray[Any], kind: Datatype) -> npt.NDArray[Any]:
    """Stored elements as numbers to reckon with: a BF16 as the float32 whose upper half it is, a BOOL as 0 or 1."""
    if kind.name == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    if kind.name == "BOOL":
        return values.view(np.uint8).astype(bool).view(np.uint8)
    return values
