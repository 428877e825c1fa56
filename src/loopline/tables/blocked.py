"""Whose rows are not taken again: persons who were erased, and the keys of what was theirs, known by their codes only."""

import fcntl
import os
import threading
from collections.abc import Collection, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import polars as pl

from loopline.access.pseudonyms import Pseudonyms
from loopline.errors import InvalidInput
from loopline.tables.folder import Folder
from loopline.tables.schema import TableSchema

_FILE = "_erased.json"
_FEATURE = "feature_"


class Codes(msgspec.Struct):
    """Codes of erased persons by subject column ("" is every one), and of row keys by the table they were keys of."""

    subjects: dict[str, set[str]] = {}
    keys: dict[str, set[str]] = {}


class Blocked:
    """The list in the folder of the tables, for every table there, also for those still to come. Share it between threads.

    It holds keyed digests (`Pseudonyms.code`) and no names. Reading rows against it takes the same `pseudonyms` as adding to it.
    """

    def __init__(self, root: Folder, pseudonyms: Pseudonyms | None, *, lock: Path) -> None:
        """`lock` is a local file that those who change the list hold."""
        self._root = root
        self._pseudonyms = pseudonyms
        self._changes = lock
        self._lock = threading.Lock()
        self._read: tuple[Hashable, Codes] | None = None

    def erased(self, name: str, schema: TableSchema, frame: pl.DataFrame) -> pl.Series | None:
        """Which rows of `frame`, meant for the table `name`, are an erased person's; None where nobody is erased.

        A row is theirs by its subject, or in a table that has none by a column called as one, which may be a feature; by its key
        in tables that have another's keys, and where it names no subject (a deletion).
        """
        codes = self._codes()
        subject = schema.subject if schema.subject in frame.columns else None
        whose = [subject] if subject else [one for one in frame.columns if _plain(one) in codes.subjects]
        keys = codes.keys.get(schema.keys_of or name, set())
        if not any(self._subjects(codes, one) for one in whose) and not keys:
            return None
        theirs = pl.repeat(value=False, n=frame.height, eager=True, dtype=pl.Boolean)
        for one in whose:
            theirs = theirs | self._among(frame[one], self._subjects(codes, one))
        if keys and "_key" in frame.columns:
            by_key = self._among(frame["_key"], keys)
            theirs = theirs | (by_key & frame[subject].is_null() if subject else by_key)
        return theirs

    def add(self, value: str, columns: Collection[str], keys: dict[str, set[str]]) -> None:
        """Take no more rows of the person `value`, in these subject columns (none: in all), nor with these keys."""
        called = self._called()
        with self._changing() as codes:
            for column in columns or [""]:
                codes.subjects.setdefault(column, set()).add(called.code(value))
            for table, found in keys.items():
                codes.keys.setdefault(table, set()).update(map(called.code, found))

    def lift(self, value: str, keys: dict[str, set[str]]) -> None:
        """Take the person's rows again."""
        called = self._called()
        with self._changing() as codes:
            for found in codes.subjects.values():
                found.discard(called.code(value))
            for table, theirs in keys.items():
                codes.keys.get(table, set()).difference_update(map(called.code, theirs))

    def holds(self, value: str) -> bool:
        """Whether the person is on the list."""
        codes = self._codes()
        if self._pseudonyms is None or not codes.subjects:
            return False
        return any(self._pseudonyms.code(value) in found for found in codes.subjects.values())

    def content(self) -> bytes | None:
        """The list as it is kept, for a backup; None where nobody was erased."""
        return self._root.read(_FILE)

    def put_content(self, content: bytes) -> None:
        """Put a list here that `content` gave."""
        self._root.make(".")
        self._root.put(_FILE, content)

    def _subjects(self, codes: Codes, subject: str) -> set[str]:
        return codes.subjects.get("", set()) | codes.subjects.get(_plain(subject), set())

    def _among(self, column: pl.Series, codes: set[str]) -> pl.Series:
        called = self._called()
        distinct = column.cast(pl.String).drop_nulls().unique()
        theirs = [value for value in distinct if called.code(value) in codes]
        return column.cast(pl.String).is_in(theirs).fill_null(value=False)

    def _called(self) -> Pseudonyms:
        if self._pseudonyms is None:
            raise InvalidInput(
                "table.no_pseudonyms",
                "persons were erased from these tables, and without the home's key nobody can tell whose rows are theirs",
                remedy="Open them with the pseudonyms of their home: `Tables(root, pseudonyms=...)`.",
            )
        return self._pseudonyms

    def _codes(self) -> Codes:
        with self._lock:
            (mark,) = self._root.marks([_FILE])
            if self._read is not None and self._read[0] == mark:
                return self._read[1]
            content = None if mark is None else self._root.read(_FILE)
            if content is None:
                return Codes()
            self._read = (mark, msgspec.json.decode(content, type=Codes))
            return self._read[1]

    @contextmanager
    def _changing(self) -> Iterator[Codes]:
        self._root.make(".")
        held = os.open(self._changes, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            codes = msgspec.convert(msgspec.to_builtins(self._codes()), Codes)
            yield codes
            self._root.put(_FILE, msgspec.json.encode(codes, order="deterministic"))
        finally:
            os.close(held)


def _plain(column: str) -> str:
    return column.removeprefix(_FEATURE)
