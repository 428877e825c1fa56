"""LMDB, the embedded online store: memory-mapped, many reading processes, one writer at a time."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import lmdb

from loopline.errors import InvalidInput, NotFound, Unavailable

# LMDB maps the whole store at once. Address space costs nothing, the file grows only as it is filled, and changing the size
# later would stop every reader: so all that one could need is reserved, or what the process is allowed.
_RESERVED = 1 << 40
_LEAST_RESERVED = 1 << 26
_MAX_READERS = 1024
_MAX_KEY = 511
_PAGE = 1000
_ROUNDS = 3
_PAGE_HEADER = 16
_READERS_SECONDS, _POLL_SECONDS = 5.0, 0.005
_BATCHES, _LEAST_BATCH = 64, 64
_JUNK = b"\xff" * 8

Result = TypeVar("Result")


class LmdbKeyValues:
    """`KeyValues` in a folder. The handles on one folder in one process share its environment, as LMDB demands, and the
    first one says whether it is durable. Close the last one only when no thread uses it any more.
    """

    def __init__(self, folder: Path, *, read_only: bool = False, durable: bool = True) -> None:
        self._read_only = read_only
        self._environment = _Environment.share(folder.resolve(), read_only=read_only, durable=durable)
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

    def forget(self) -> None:
        """Write every record anew, and zeros over what is free then: LMDB itself never clears a page.

        Zeros come first as well: it makes new pages in memory that held old ones, and their gaps would keep what those held.
        """
        self._environment.fill(2 * self._environment.used_pages())
        self._environment.rewrite()
        for _ in range(_ROUNDS):
            self._environment.outwait_readers()
            self._environment.fill()

    def close(self) -> None:
        """Let go of the environment; a second time does nothing."""
        if self._open:
            self._open = False
            self._environment.release()


class _Environment:
    """One LMDB environment of this process, counted by its handles."""

    _shared: ClassVar[dict[Path, "_Environment"]] = {}
    _sharing: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, folder: Path, lmdb_environment: Any) -> None:
        self._folder = folder
        self._lmdb = lmdb_environment
        self.handles = 0

    @classmethod
    def share(cls, folder: Path, *, read_only: bool, durable: bool) -> "_Environment":
        with cls._sharing:
            shared = cls._shared.get(folder) or cls(folder, _open(folder, read_only=read_only, durable=durable))
            shared.handles += 1
            cls._shared[folder] = shared
            return shared

    def release(self) -> None:
        with self._sharing:
            self.handles -= 1
            if self.handles == 0:
                del self._shared[self._folder]
                self._lmdb.close()

    @classmethod
    def forget_after_fork(cls) -> None:
        """LMDB's environments are not for a child: it lets go of its parent's, and opens its own."""
        for inherited in cls._shared.values():
            inherited._lmdb.close()  # noqa: SLF001 - its own class
        cls._shared = {}
        cls._sharing = threading.Lock()  # a thread that held it is not in the child

    def read(self, work: Callable[[Any], Result]) -> Result:
        with self._lmdb.begin() as tx:
            return work(tx)

    def rewrite(self) -> None:
        with self._lmdb.begin(write=True) as tx:
            records = list(tx.cursor())
            tx.drop(self._lmdb.open_db(), delete=False)
            tx.cursor().putmulti(records, append=True)

    def used_pages(self) -> int:
        stat = self._lmdb.stat()
        return int(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"])

    def fill(self, at_once: int | None = None) -> None:
        """Fill free pages with zeros and free them again: so many in one transaction, or all there are."""
        for _ in range(2):  # pages can be taken two transactions after they were freed
            self.write({_JUNK: b""})
        before = taken = self._pages()
        step = at_once or max(before // _BATCHES, _LEAST_BATCH)
        zeros = bytes(self._lmdb.stat()["psize"] - _PAGE_HEADER)  # each fills a page of its own
        for first in range(0, at_once or sys.maxsize, step):
            self.write({_JUNK + number.to_bytes(8, "big"): zeros for number in range(first, first + step)})
            taken = first + step
            if self._pages() > before:  # the file grew: there was none left
                break
        self.write(dict.fromkeys([_JUNK, *(_JUNK + number.to_bytes(8, "big") for number in range(taken))]))
        self._cut()

    def outwait_readers(self) -> None:
        """Wait until nobody reads what was replaced up to now, for some seconds at most."""
        self._lmdb.reader_check()
        newest, deadline = self._lmdb.info()["last_txnid"], time.monotonic() + _READERS_SECONDS
        while any(found < newest for found in self._reading()) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def _reading(self) -> list[int]:
        """The transactions whose state is being read, from LMDB's table: a line of process, thread and transaction each."""
        lines = self._lmdb.readers().splitlines()[1:]
        return [int(line.split()[-1]) for line in lines if line.split()[-1].isdigit()]

    def _pages(self) -> int:
        return int(self._lmdb.info()["last_pgno"]) + 1

    def _cut(self) -> None:
        """A writer that was killed may have left pages that no list names."""
        with self._lmdb.begin(write=True):
            data, end = self._folder / "data.mdb", self._pages() * self._lmdb.stat()["psize"]
            if data.stat().st_size > end:
                os.truncate(data, end)

    def write(self, values: Mapping[bytes, bytes | None]) -> None:
        try:
            with self._lmdb.begin(write=True) as tx:
                tx.cursor().putmulti([(key, value) for key, value in values.items() if value is not None])
                for key, value in values.items():
                    if value is None:
                        tx.delete(key)
        except (lmdb.MapFullError, lmdb.DiskError) as problem:
            raise _unavailable(self._folder, problem) from problem


os.register_at_fork(after_in_child=_Environment.forget_after_fork)


def _open(folder: Path, *, read_only: bool, durable: bool) -> Any:
    if read_only and not (folder / "data.mdb").exists():
        raise NotFound(
            "key_values.not_found",
            f"there is no online store in {folder}",
            remedy="Write to it first (`loopline up` does), or check LOOPLINE_HOME.",
        )
    # A reader opens it for writing too, where it may: a writer of this process must share the environment.
    only_reading = read_only and not os.access(folder / "data.mdb", os.W_OK)
    try:
        if not only_reading:
            folder.mkdir(parents=True, exist_ok=True)
        environment = _reserve(folder, _RESERVED, readonly=only_reading, sync=durable, max_readers=_MAX_READERS)
        if not only_reading:
            environment.reader_check()  # slots of killed readers would keep old pages forever
    except (lmdb.Error, OSError) as problem:
        raise _unavailable(folder, problem) from problem
    return environment


def _reserve(folder: Path, size: int, **options: Any) -> Any:
    """Open with `size` bytes of address space, or as many as this process may have (`ulimit -v`)."""
    try:
        return lmdb.open(str(folder), map_size=size, **options)
    except lmdb.MemoryError:
        if size <= _LEAST_RESERVED:
            raise
        return _reserve(folder, size // 2, **options)


def _unavailable(folder: Path, problem: Exception) -> Unavailable:
    return Unavailable(
        "key_values.unavailable",
        f"the online store in {folder} cannot be used: {problem}",
        remedy="Check the folder's owner and the space that is left. It can be rebuilt from the tables.",
    )


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
