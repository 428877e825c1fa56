"""LMDB, the embedded online store: memory-mapped, many reading processes, one writer at a time."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import lmdb

from loopline.errors import InvalidInput, NotFound, Unavailable

_FIRST_MAP_SIZE = 64 * 1024 * 1024
_MAX_READERS = 1024
_MAX_KEY = 511
_PAGE = 1000

Result = TypeVar("Result")


class LmdbKeyValues:
    """`KeyValues` in a folder. The handles on one folder in one process share its environment, as LMDB demands."""

    def __init__(
        self, folder: Path, *, read_only: bool = False, durable: bool = True, first_map_size: int = _FIRST_MAP_SIZE
    ) -> None:
        self._read_only = read_only
        self._environment = _Environment.share(folder.resolve(), read_only, durable, first_map_size)
        self._open = True

    def get(self, key: bytes) -> bytes | None:
        """The value of one key, or None."""
        return self.get_many([key])[0]

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of many keys in their order, all as of one moment."""
        _check_keys(keys)
        return self._environment.read(lambda tx: [tx.get(key) for key in keys])

    def put_many(self, values: Mapping[bytes, bytes | None]) -> None:
        """Set or delete the keys, all or none."""
        if self._read_only:
            raise InvalidInput("key_values.read_only", "this handle only reads", remedy="Open it without read_only.")
        _check_keys(values)
        self._environment.write(values)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The keys that begin with `prefix`, a page of them in each transaction."""
        after = b""
        while page := self._environment.read(partial(_page, prefix=prefix, after=after)):
            yield from page
            after = page[-1][0]

    def close(self) -> None:
        """Let go of the environment; a second time does nothing."""
        if self._open:
            self._open = False
            self._environment.release()


class _Environment:
    """One LMDB environment of this process, counted by its handles, and grown when it is full."""

    _shared: ClassVar[dict[Path, "_Environment"]] = {}
    _sharing: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, folder: Path, lmdb_environment: Any) -> None:
        self._folder = folder
        self._lmdb = lmdb_environment
        self.handles = 0
        self._gate = _Gate()

    @classmethod
    def share(cls, folder: Path, read_only: bool, durable: bool, map_size: int) -> "_Environment":  # noqa: FBT001 - internal
        with cls._sharing:
            shared = cls._shared.get(folder) or cls(folder, _open(folder, read_only, durable, map_size))
            shared.handles += 1
            cls._shared[folder] = shared
            return shared

    def release(self) -> None:
        with self._sharing:
            self.handles -= 1
            if self.handles == 0:
                del self._shared[self._folder]
                with self._gate.alone():
                    self._lmdb.close()

    @classmethod
    def forget_after_fork(cls) -> None:
        """LMDB's environments are not for a child: it lets go of its parent's, and opens its own."""
        for inherited in cls._shared.values():
            inherited._lmdb.close()  # noqa: SLF001 - its own class
        cls._shared = {}
        cls._sharing = threading.Lock()  # a thread that held it is not in the child

    def read(self, work: Callable[[Any], Result]) -> Result:
        try:
            with self._gate, self._lmdb.begin() as tx:
                return work(tx)
        except lmdb.MapResizedError:  # another process has grown it
            self._resize(0)
            return self.read(work)

    def write(self, values: Mapping[bytes, bytes | None]) -> None:
        while True:
            try:
                return self._write(values)
            except lmdb.MapFullError:
                self._resize(2 * self._lmdb.info()["map_size"])
            except lmdb.MapResizedError:
                self._resize(0)

    def _write(self, values: Mapping[bytes, bytes | None]) -> None:
        with self._gate, self._lmdb.begin(write=True) as tx:
            for key, value in values.items():
                if value is None:
                    tx.delete(key)
                else:
                    tx.put(key, value)

    def _resize(self, size: int) -> None:
        """To `size` bytes, or with 0 to what another process made it; LMDB allows it between transactions only."""
        with self._gate.alone():
            if size == 0 or size > self._lmdb.info()["map_size"]:
                self._lmdb.set_mapsize(size)


os.register_at_fork(after_in_child=_Environment.forget_after_fork)


class _Gate:
    """Many together (`with gate`), or one alone (`with gate.alone()`), who is let in before any who come later."""

    def __init__(self) -> None:
        self._condition = threading.Condition(threading.Lock())
        self._inside = 0
        self._waiting_alone = 0

    def __enter__(self) -> None:
        with self._condition:
            if self._waiting_alone:
                self._condition.wait_for(lambda: not self._waiting_alone)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._inside -= 1
            if self._waiting_alone and not self._inside:
                self._condition.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._condition:  # held throughout, so nobody else comes in
            self._waiting_alone += 1
            try:
                self._condition.wait_for(lambda: not self._inside)
                yield
            finally:
                self._waiting_alone -= 1
                self._condition.notify_all()


def _open(folder: Path, read_only: bool, durable: bool, map_size: int) -> Any:  # noqa: FBT001 - internal
    if read_only and not (folder / "data.mdb").exists():
        raise NotFound(
            "key_values.not_found",
            f"there is no online store in {folder}",
            remedy="Write to it first (`loopline up` does), or check LOOPLINE_HOME.",
        )
    try:
        # A reader opens it for writing too, where it may: a writer of this process must share the environment.
        return _open_as(folder, durable, map_size, readonly=read_only and not os.access(folder / "data.mdb", os.W_OK))
    except lmdb.Error as problem:
        raise Unavailable(
            "key_values.unavailable",
            f"the online store in {folder} cannot be opened: {problem}",
            remedy="Check the folder's owner and the space that is left. It can be rebuilt from the tables.",
        ) from problem


def _open_as(folder: Path, durable: bool, map_size: int, *, readonly: bool) -> Any:  # noqa: FBT001 - internal
    if not readonly:
        folder.mkdir(parents=True, exist_ok=True)
    environment = lmdb.open(
        str(folder), map_size=map_size, readonly=readonly, max_readers=_MAX_READERS, sync=durable, create=not readonly
    )
    if not readonly:
        environment.reader_check()  # slots of killed readers would keep old pages forever
    return environment


def _check_keys(keys: Sequence[bytes] | Mapping[bytes, bytes | None]) -> None:
    for key in keys:
        if not 0 < len(key) <= _MAX_KEY:
            raise InvalidInput(
                "key_values.key_invalid",
                f"a key of {len(key)} bytes cannot be stored",
                remedy=f"A key has 1 to {_MAX_KEY} bytes; use a digest for a longer name.",
            )


def _page(tx: Any, prefix: bytes, after: bytes) -> list[tuple[bytes, bytes]]:
    """The next keys with this prefix after `after`, at most a page."""
    cursor = tx.cursor()
    found = cursor.set_range(max(prefix, after)) if prefix or after else cursor.first()
    if found and after and cursor.key() == after:
        found = cursor.next()
    page: list[tuple[bytes, bytes]] = []
    while found and cursor.key().startswith(prefix) and len(page) < _PAGE:
        page.append(cursor.item())
        found = cursor.next()
    return page
