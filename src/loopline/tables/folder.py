"""Where a table's files are: on a local disk or in an object store, behind the same calls."""

from collections.abc import Collection, Hashable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Protocol

from loopline.errors import Corrupt, Unavailable
from loopline.storage.locks import SharedLock


class Folder(Protocol):
    """Names and bytes below one place; a name is a relative path. Whole files appear under their final names, durable, or not
    at all. Safe between threads and processes.

    Writers share `lock`; an erasure holds it alone. `url` is what other programs open. Raises `Unavailable`: `table.write_failed`
    where something cannot be written, `table.store_unavailable` where an object store does not answer.
    """

    lock: SharedLock

    @property
    def url(self) -> str:
        """Where it is."""
        ...

    def make(self, child: str) -> None:
        """Make the folder and its `child`, and make their names durable."""
        ...

    def sync(self, child: str) -> None:
        """Make durable what was created in the folder `child`, by whichever process."""
        ...

    def put(self, name: str, content: bytes) -> None:
        """Write `name`, replacing what was there."""
        ...

    def create(self, name: str, content: bytes) -> bool:
        """Write `name` unless it exists; says whether this call made it. Exactly one of several callers at once does.

        The content is durable before the name appears; the name is once its folder was given to `sync`.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove `name`, if it is there."""
        ...

    def read(self, name: str) -> bytes | None:
        """The content of `name`, or None if there is none."""
        ...

    def read_on(self, names: Iterable[str]) -> Iterator[bytes]:
        """The contents of `names`, in their order, up to the first that is not there."""
        ...

    def size(self, name: str) -> int | None:
        """How many bytes `name` has, or None if there is none."""
        ...

    def modified(self, name: str) -> datetime | None:
        """When `name` was written last, UTC, by the clock of where it is; None if there is none."""
        ...

    def marks(self, names: Collection[str]) -> list[Hashable]:
        """What is another for each of `names` when its content is, and None for those that are not there."""
        ...

    def names(self) -> list[str]:
        """Every name, sorted; also what a killed writer left unfinished."""
        ...

    def scanned(self, names: Collection[str]) -> list[str]:
        """What Polars scans to read `names`."""
        ...

    def fetched(self, names: Collection[str], scratch: Path) -> list[Path]:
        """Local files with the contents of `names`: in `scratch` where they have to be copied."""
        ...


def cannot_write(where: str, problem: object) -> Unavailable:
    """What a write raises that failed."""
    return Unavailable(
        "table.write_failed",
        f"cannot write {where}: {problem}",
        remedy="Check free space, permissions and credentials, then try again: the same writer and sequence is never "
        "committed twice.",
    )


def file_missing(url: str, name: object) -> Corrupt:
    """What a read raises where a data file is gone."""
    return Corrupt(
        "table.file_missing",
        f"a data file that the log of {url} names is gone: {name}",
        remedy="Restore it from a backup. Do not vacuum away files of versions that are still read.",
    )
