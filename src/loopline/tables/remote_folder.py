"""A table's folder in an object store: names appear whole, and the store itself says who made a name first."""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar

from loopline.errors import Unavailable
from loopline.storage.locks import SharedLock
from loopline.storage.objects import FAILURES, Objects
from loopline.tables.folder import cannot_write, file_missing

_AT_ONCE = 16  # requests on their way: an answer takes some ten milliseconds, whatever its size

Result = TypeVar("Result")


class RemoteFolder:
    """A `Folder` at `url` (`s3://`, `gs://`, `az://`). What the store has acknowledged is durable as the store promises.

    The lock is the file `lock` on this machine: an erasure waits for the writers of this machine only.
    """

    def __init__(self, url: str, *, lock: Path) -> None:
        self.url = url
        self.lock = SharedLock(lock)
        self._objects = Objects(url)
        lock.parent.mkdir(parents=True, exist_ok=True)

    def make(self, child: str) -> None:
        """Nothing: an object store has no folders."""

    def sync(self, child: str) -> None:
        """Nothing: what was acknowledged is durable."""

    def put(self, name: str, content: bytes) -> None:
        """Put the object."""
        _reach("write", f"{self.url}/{name}", lambda: self._objects.write(name, content))

    def create(self, name: str, content: bytes) -> bool:
        """Put the object on the condition that there is none."""
        return _reach("write", f"{self.url}/{name}", lambda: self._objects.create(name, content))

    def remove(self, name: str) -> None:
        """Delete the object."""
        _reach("write", f"{self.url}/{name}", lambda: self._objects.remove(name))

    def read(self, name: str) -> bytes | None:
        """Get the object."""
        return _reach("read", f"{self.url}/{name}", lambda: self._objects.read(name))

    def read_on(self, names: Iterable[str]) -> Iterator[bytes]:
        """The first alone, since mostly there is none; then ever more at once."""
        waiting, width = iter(names), 1
        while some := list(islice(waiting, width)):
            for content in _each(self.read, some):
                if content is None:
                    return
                yield content
            width = min(2 * width, 2 * _AT_ONCE)

    def size(self, name: str) -> int | None:
        """As the store tells it."""
        mark = _reach("read", f"{self.url}/{name}", lambda: self._objects.mark(name))
        return mark.size if mark else None

    def modified(self, name: str) -> datetime | None:
        """As the store tells it."""
        return _reach("read", f"{self.url}/{name}", lambda: self._objects.modified(name))

    def marks(self, names: Collection[str]) -> list[Hashable]:
        """The store's tags."""
        return _each(self._mark, names)

    def names(self) -> list[str]:
        """What the store lists."""
        return _reach("read", self.url, lambda: sorted(self._objects.names()))

    def scanned(self, names: Collection[str]) -> list[str]:
        """The objects' URLs: Polars reads the columns it needs."""
        return [f"{self.url}/{name}" for name in names]

    def fetched(self, names: Collection[str], scratch: Path) -> list[Path]:
        """Copies. Raises `Corrupt` (`table.file_missing`)."""
        return _each(lambda name: self._fetch(name, scratch), names)

    def _fetch(self, name: str, scratch: Path) -> Path:
        content = self.read(name)
        if content is None:
            raise file_missing(self.url, name)
        path = scratch / name.replace("/", "%")
        path.write_bytes(content)
        return path

    def _mark(self, name: str) -> Hashable:
        return _reach("read", f"{self.url}/{name}", lambda: self._objects.mark(name))


def _each(call: Callable[[str], Result], names: Collection[str]) -> list[Result]:
    if len(names) < 2:  # noqa: PLR2004 - one is asked for at once
        return [call(name) for name in names]
    with ThreadPoolExecutor(min(len(names), _AT_ONCE)) as pool:
        return list(pool.map(call, names))


def _reach(what: str, where: str, call: Callable[[], Result]) -> Result:
    try:
        return call()
    except FAILURES as problem:
        if what == "write":
            raise cannot_write(where, problem) from problem
        raise Unavailable(
            "table.store_unavailable",
            f"cannot read {where}: {problem}",
            remedy="Check LOOPLINE_TABLES_URL, the endpoint and the credentials.",
        ) from problem
