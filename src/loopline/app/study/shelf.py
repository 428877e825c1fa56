"""Columns of rows on a shelf: files of a scratch folder, of which only the part that is being read is in memory."""

import errno
import mmap
import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from loopline.errors import Unavailable

Kind = TypeVar("Kind", bound=np.generic)
Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

PART = 1 << 18
"""Rows that are read at once."""

_GATHERED = 16_384
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Shelf:
    """Keeps columns of many rows in files of `folder`, mapped into memory; without a folder they are arrays as ever.

    Pages that were read count as the process's memory until they are let go, which `parts`, `taken` and `put` do as they go. A file has no name as
    soon as it is mapped: it goes with the last array that shows it.
    """

    def __init__(self, folder: Path | None = None, part: int | None = None) -> None:
        self.part = PART if part is None else part
        self._folder = folder
        self._count = 0
        self._maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()

    def parts(self, rows: int, begin: int = 0) -> Iterator[slice]:
        """The rows from `begin` up to `rows`, some at a time."""
        for first in range(begin, rows, self.part):
            yield slice(first, min(first + self.part, rows))
            self.let_go()

    def keep(self, pieces: Iterable[Sequence[Array]]) -> list[Array]:
        """Columns, given piece after piece, (rows,) or (rows, k), at least one; they are not to be written to."""
        if self._folder is None:
            return [np.concatenate(column) for column in zip(*pieces, strict=True)]
        paths: list[Path] = []
        shown: list[tuple[np.dtype[Any], tuple[int, ...]]] = []
        for piece in pieces:
            if not paths:
                paths = [self._new() for _ in piece]
                shown = [(one.dtype, one.shape[1:]) for one in piece]
            for path, column in zip(paths, piece, strict=True):
                with _room(self._folder), path.open("ab") as file:
                    file.write(np.ascontiguousarray(column).data)
            self.let_go()
        return [self._mapped(path, *how, mmap.ACCESS_READ) for path, how in zip(paths, shown, strict=True)]

    def blank(self, rows: int, filled: float, dtype: npt.DTypeLike) -> Array:
        """A column to be written to with `put`, the same value in every row."""
        if self._folder is None:
            return np.full(rows, filled, dtype=dtype)
        path, kind = self._new(), np.dtype(dtype)
        with _room(self._folder), path.open("wb") as file:
            # Written, not only stretched: what is mapped and has no place on the disk ends the process that writes to it.
            for part in self.parts(rows):
                file.write(np.full(part.stop - part.start, filled, dtype=kind).data)
        return self._mapped(path, kind, (), mmap.ACCESS_WRITE)

    def taken(self, column: npt.NDArray[Kind], places: Ints) -> npt.NDArray[Kind]:
        """The column at rising places."""
        if self._folder is None:
            return column[places]
        found = np.empty((len(places), *column.shape[1:]), dtype=column.dtype)
        for begin in range(0, len(places), _GATHERED):
            cut = slice(begin, begin + _GATHERED)
            found[cut] = column[places[cut]]
            self.let_go()
        return found

    def put(self, column: Array, places: Ints, values: Array) -> None:
        """Write values to rising places of a blank column."""
        for begin in range(0, len(places), _GATHERED):
            cut = slice(begin, begin + _GATHERED)
            column[places[cut]] = values[cut]
            self.let_go()

    def let_go(self) -> None:
        """Give the pages back that were read or written; they are still in the files."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for one in list(self._maps):
                one.madvise(mmap.MADV_DONTNEED)

    def _new(self) -> Path:
        assert self._folder is not None  # noqa: S101 - asked for before
        self._count += 1
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f"{self._count}.column"

    def _mapped(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], access: int) -> Array:
        with path.open("r+b") as file:
            if not os.fstat(file.fileno()).st_size:
                return np.zeros((0, *shape), dtype=dtype)
            shared = mmap.mmap(file.fileno(), 0, access=access)
        path.unlink()
        self._maps.add(shared)
        return np.frombuffer(shared, dtype=dtype).reshape(-1, *shape)


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    """Say what to do where the disk has no room left."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise Unavailable(
            "alone.no_room",
            f"there is no room for scratch files in {folder.parent}: {error.strerror}",
            remedy="About a hundred bytes a row are needed: make room, or name another folder in the variable TMPDIR.",
        ) from error
