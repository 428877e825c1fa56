"""A person's rows taken out of a table: out of every version, every file and every entry of the log.

A data file is written anew under its own name without them, in one step, so that whatever is killed in between leaves a table
that can be read; then the log entries that tell its size and bounds; then one entry more says that it was done, and makes other
processes read the log again. Nobody appends or compacts meanwhile. See docs/decisions/0016-erasure.md.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import polars as pl

from loopline.access.needles import Needles
from loopline.errors import Corrupt
from loopline.storage.files import PENDING
from loopline.tables import datafile
from loopline.tables.actions import Action, commit_info
from loopline.tables.folder import Folder
from loopline.tables.log import ERASE, Log

_LOG = "_delta_log"
_DERIVED = (".checkpoint", ".crc", "_last_checkpoint")
_PARQUET = b"PAR1"


@dataclass(frozen=True)
class Theirs:
    """Which rows of a table are a person's: those whose column `subject` is `value`, and those with one of `keys`.

    With a subject column, keys count only where it is null (a deletion names nobody). `inside` is the subject's name in the JSON
    texts of a quarantine; `also` are columns that may be there and hold the id. Any other text that holds one of `needles` is changed, and its row stays.
    """

    value: str
    subject: str | None
    keys: frozenset[str]
    needles: Needles
    inside: str | None = None
    also: tuple[str, ...] = ()

    def rows(self, frame: pl.DataFrame) -> pl.Series:
        """Which rows of `frame` are the person's."""
        by_key = self.keys and "_key" in frame.columns
        theirs = frame["_key"].is_in(list(self.keys)) if by_key else pl.repeat(value=False, n=frame.height, eager=True)
        if self.subject in frame.columns:
            of_whom = frame[self.subject]
            theirs = (theirs & of_whom.is_null()) | (of_whom.cast(pl.String) == self.value).fill_null(value=False)
        for name in set(self.also) & set(frame.columns):
            theirs = theirs | (frame[name].cast(pl.String) == self.value).fill_null(value=False)
        if self.inside is not None and "row" in frame.columns:
            theirs = theirs | pl.Series([self._inside(text) for text in frame["row"].to_list()], dtype=pl.Boolean)
        return theirs.fill_null(value=False)

    def _inside(self, text: str | None) -> bool:
        said = msgspec.json.decode(text) if text else {}
        return isinstance(said, dict) and str(said.get(self.inside)) == self.value


@dataclass
class Erased:
    """What was taken out, or would be: rows of the newest version and of `files`, cells that named the person, log entries."""

    rows: int = 0
    cells: int = 0
    files: int = 0
    entries: int = 0
    before: int = 0
    after: int = 0
    changed: dict[str, int] = field(default_factory=dict)

    @property
    def nothing(self) -> bool:
        """Whether there is nothing of the person."""
        return not (self.rows or self.cells or self.files or self.entries)


def erase(log: Log, folder: Folder, theirs: Theirs, *, erasure: str, timestamp: int, dry: bool, finish: bool) -> Erased:
    """Take `theirs` out. The caller holds the table alone. With `finish` the closing entry is written even where nothing was
    left to do: an earlier attempt did it and was killed. `timestamp` in milliseconds since 1970 UTC.

    Raises `Corrupt` (`table.file_unreadable`) for a data file that cannot be read.
    """
    done = Erased(before=log.refresh().version, after=log.version)
    current = {file.path for file in log.files()}
    for path in _data_files(folder):
        _erase_from_file(folder, path, theirs, done, is_current=path in current, dry=dry)
    _erase_from_log(folder, theirs.needles, done, dry=dry)
    if dry:
        return done
    _drop_leftovers(folder)
    if (finish or not done.nothing) and erasure not in log.erasures:
        told = {"provenance": {"erasure": erasure, "rows": done.rows, "files": done.files}}
        log.commit(lambda: [Action(commit_info(ERASE, "DELETE", timestamp, told))])
        done.after = log.version
    return done


def _data_files(folder: Folder) -> Iterator[str]:
    """Every data file below the folder, those too that no entry names: a writer that was killed left them."""
    for name in folder.names():
        if name.endswith(".parquet") and not name.startswith(f"{_LOG}/"):
            yield name


def _erase_from_file(folder: Folder, path: str, theirs: Theirs, done: Erased, *, is_current: bool, dry: bool) -> None:
    left, gone, cells = without(_read(folder, path), theirs)
    if not gone and not cells:
        return
    done.rows += gone if is_current else 0
    done.cells += cells if is_current else 0
    done.files += 1
    if not dry:
        folder.put(path, datafile.encoded(left))


def without(frame: pl.DataFrame, theirs: Theirs) -> tuple[pl.DataFrame, int, int]:
    """The rows that are not the person's, nothing in them naming the person; how many rows went, and how many cells changed."""
    rows = theirs.rows(frame)
    left, cells = _without_needles(frame.filter(~rows), theirs.needles)
    return left, int(rows.sum()), cells


def _read(folder: Folder, path: str) -> pl.DataFrame:
    try:
        return pl.read_parquet(io.BytesIO(folder.read(path) or b""))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise Corrupt(
            "table.file_unreadable",
            f"the data file {folder.url}/{path} cannot be read: {type(error).__name__}",
            remedy="Restore it from a backup, or remove it where no log entry names it; then erase again.",
        ) from error


def _without_needles(frame: pl.DataFrame, needles: Needles) -> tuple[pl.DataFrame, int]:
    """The rows with what names the person replaced in texts, and made null in lists, structs and bytes; and how many cells."""
    cells, changed = 0, []
    for column in frame.get_columns():
        new = _column_without(column, needles)
        if new is not column:
            cells += int((new.is_null() ^ column.is_null()).sum()) if new.dtype != pl.String else _differ(new, column)
            changed.append(new)
    return frame.with_columns(changed), cells


def _column_without(column: pl.Series, needles: Needles) -> pl.Series:
    if column.dtype == pl.String:
        return needles.hidden_in_column(column)
    if not (column.dtype.is_nested() or column.dtype == pl.Binary) or not needles.texts:
        return column
    texts = [str(value).encode() if column.dtype != pl.Binary else value or b"" for value in column.to_list()]
    if not needles.found(b"\x00".join(texts)):
        return column
    hits = pl.Series([needles.found(text) > 0 for text in texts], dtype=pl.Boolean)
    if not hits.any():
        return column
    return pl.select(pl.when(hits).then(None).otherwise(column).alias(column.name)).to_series()


def _differ(new: pl.Series, old: pl.Series) -> int:
    return int(new.ne_missing(old).sum())


def _erase_from_log(folder: Folder, needles: Needles, done: Erased, *, dry: bool) -> None:
    for name in folder.names():
        if not (name.startswith(f"{_LOG}/") and name.endswith(".json")):
            continue
        content = folder.read(name) or b""
        mended = b"".join(_mended(folder, line, needles, dry=dry) for line in content.splitlines(keepends=True))
        if mended != content:
            done.entries += 1
            if not dry:
                folder.put(name, mended)


def _mended(folder: Folder, line: bytes, needles: Needles, *, dry: bool) -> bytes:
    """A line of the log with sizes and bounds as the files are now, and without the person's name."""
    said = msgspec.json.decode(line) if line.strip() else {}
    before = msgspec.json.encode(said)
    if add := said.get("add"):
        _mend_add(folder, add, dry=dry)
    if "metaData" not in said:
        said = needles.hidden_in(said)
    after = msgspec.json.encode(said)
    return line if after == before else after + b"\n"


def _mend_add(folder: Folder, add: dict[str, Any], *, dry: bool) -> None:
    name = datafile.path_of(add["path"])
    if dry or (size := folder.size(name)) is None or size == add["size"]:
        return
    frame = pl.read_parquet(io.BytesIO(folder.read(name) or b""), columns=list(datafile.TIMES))
    add["size"], add["stats"] = size, datafile.statistics(frame)


def _drop_leftovers(folder: Folder) -> None:
    """What killed writers left unfinished, and what other programs derived from the log (checkpoints, checksums)."""
    for name in folder.names():
        parent, _, last = name.rpartition("/")
        derived = parent.endswith(_LOG) and any(mark in last for mark in _DERIVED)
        if derived or last.endswith(".tmp") or last.startswith(PENDING):
            folder.remove(name)
    folder.sync(_LOG)
    folder.sync(".")
