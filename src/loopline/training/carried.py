"""Training sets as bytes, to be fitted on in another process: every array as NumPy writes it, nothing pickled."""

import io
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from loopline.evaluation.kind import Output
from loopline.training.training_set import TrainingSet

_ARRAYS = ("X", "y", "at", "weight", "censored")


class _Carried(msgspec.Struct, frozen=True):
    feature_names: tuple[str, ...]
    categorical: tuple[bool, ...]
    seed: int
    output: Output
    arrays: dict[str, bytes]
    groups: list[Any] | None = None


def carried(sets: Sequence[TrainingSet]) -> bytes:
    """The sets as bytes; `brought` gives them again, equal to the last bit and in the same layout."""
    return msgspec.msgpack.encode([_one(part) for part in sets])


def brought(content: bytes) -> list[TrainingSet]:
    """The sets that were carried."""
    return [_set(one) for one in msgspec.msgpack.decode(content, type=list[_Carried])]


def array_bytes(array: np.ndarray) -> bytes:
    """An array of numbers or times, as `numpy.save` writes it."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def array_of(content: bytes) -> np.ndarray:
    """The array again."""
    found: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    return found


def _one(part: TrainingSet) -> _Carried:
    arrays = {name: array_bytes(getattr(part, name)) for name in _ARRAYS}
    groups = None if part.groups is None else part.groups.tolist()
    return _Carried(part.feature_names, part.categorical, part.seed, part.output, arrays, groups)


def _set(one: _Carried) -> TrainingSet:
    arrays = {name: array_of(content) for name, content in one.arrays.items()}
    groups = None if one.groups is None else np.array(one.groups, dtype=object)
    return TrainingSet(
        **arrays,
        feature_names=one.feature_names,
        categorical=one.categorical,
        seed=one.seed,
        output=one.output,
        groups=groups,
    )
