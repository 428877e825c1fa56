"""The library in C, loaded by ctypes; scoring with it lets other threads run."""

import ctypes
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from loopline import native
from loopline.errors import InvalidInput
from loopline.models.runtimes.forest.flat import Flat
from loopline.models.runtimes.forest.shape import NotTaken
from loopline.models.runtimes.forest.sums import Sums

_POINTERS = ("trees", "splits", "nodes", "leaves", "columns", "base")
_NUMBERS = ("count", "width", "targets", "used", "average", "based", "transform", "second")


_FEW_BYTES = 4096
_FIRST = ctypes.c_char


class _Forest(ctypes.Structure):
    """`struct forest` of kernel.c."""

    _fields_ = [(name, ctypes.c_void_p) for name in _POINTERS] + [(name, ctypes.c_uint32) for name in _NUMBERS]


@cache
def kernel() -> Any:
    """The library's function, or None where it was not built for this very source."""
    library = native.loaded(native.FOREST)
    if library is None:
        return None
    found = library.loopline_forest
    found.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    found.restype = ctypes.c_int
    return found


class Forest:
    """Trees that the library walks. Holds nothing that changes; safe to share between threads."""

    def __init__(self, flat: Flat, sums: Sums, fields: int | None = None) -> None:
        """`fields` is how many a row has, where that is known."""
        least = int(flat.columns[-1]) + 1 if len(flat.columns) else 0
        if fields is not None and fields < least:
            raise NotTaken("a field that rows do not have")
        self.fields, self._exactly = least if fields is None else fields, fields is not None
        self._outputs = sums.outputs
        self._kept = {
            "trees": flat.trees,
            "splits": flat.splits,
            "nodes": flat.nodes,
            "leaves": np.ascontiguousarray(sums.leaves),
            "columns": flat.columns,
            "base": sums.base,
        }
        self._forest = _Forest(
            **{name: self._kept[name].ctypes.data for name in _POINTERS},
            count=len(flat.trees),
            width=sums.leaves.shape[1],
            targets=sums.targets,
            used=len(flat.columns),
            average=sums.average,
            based=len(sums.base) > 0,
            transform=sums.transform,
            second=sums.second,
        )
        self._at = ctypes.addressof(self._forest)
        self._score = kernel()

    def outputs(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """What the ensemble gives for rows (n, fields): float32 (n, outputs). Raises `InvalidInput` for rows of other fields."""
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        count, stride = rows.shape
        if stride != self.fields and (self._exactly or stride < self.fields):
            raise InvalidInput(
                "model.other_fields",
                f"the ONNX model takes {self.fields} fields, and the rows have {stride}",
                remedy="Give the fields that the model was trained on, in their order.",
            )
        out: npt.NDArray[np.float32] = np.empty((count, self._outputs), dtype=np.float32)
        # A few bytes are copied sooner than their address is asked for.
        given = rows.tobytes() if rows.nbytes <= _FEW_BYTES else rows.ctypes.data
        if count and not self._score(self._at, given, count, stride, ctypes.byref(_FIRST.from_buffer(out.data))):
            raise MemoryError
        return out
