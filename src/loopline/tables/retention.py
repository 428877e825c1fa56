"""Rows older than what is kept leave a table and its older versions, in one commit."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

import polars as pl

from loopline.errors import NotFound
from loopline.tables import datafile
from loopline.tables.actions import Action, Add, Remove, commit_info
from loopline.tables.datafile import TIMES, DataFile
from loopline.tables.folder import Folder
from loopline.tables.log import RETIRE, Log


@dataclass(frozen=True)
class _Cut:
    """A file made of several appends, and what it is without its old rows."""

    file: DataFile
    left: pl.DataFrame

    @property
    def taken(self) -> int:
        """How many rows it loses."""
        return self.file.rows - self.left.height


def retire(log: Log, folder: Folder, before: datetime, timestamp: int, *, dry: bool = False) -> int:
    """Take out the rows that happened and became known before that moment (UTC); returns how many there were, or with `dry` would be.
    `timestamp` is in milliseconds since 1970 UTC.

    An append's own file goes when all its rows are older: such rows leave late, never early. Files that a compaction made are written anew without
    them, and those of older versions that hold some go whole: their other rows are in newer files. Sequences of writers stay, so nothing comes twice.
    """
    cuts = [cut for file in log.files() if (cut := _cut(log, folder, file, before)) is not None]
    added = {} if dry else {cut.file.path: _write(folder, cut, before, timestamp) for cut in cuts}
    taken = 0

    def build() -> list[Action] | None:
        nonlocal taken
        current = {file.path: file for file in log.files()}
        standing = [cut for cut in cuts if cut.file.path in current]
        old = [file for file in log.every_file() if _goes(file, before, is_current=file.path in current)]
        taken = sum(file.rows for file in old if file.path in current) + sum(cut.taken for cut in standing)
        if dry or not (old or standing):
            return None
        told = {"provenance": {"before": before.isoformat(), "rows": taken}}
        info = Action(commit_info(RETIRE, "DELETE", timestamp, told))
        gone = [*old, *(cut.file for cut in standing)]
        removed = (Remove(quote(file.path), data_change=True, deletion_timestamp=timestamp) for file in gone)
        return [info, *(Action(remove=one) for one in removed), *(Action(add=added[cut.file.path]) for cut in standing)]

    log.commit(build)
    return taken


def _goes(file: DataFile, before: datetime, *, is_current: bool) -> bool:
    if file.known is None or file.event is None:
        return False
    whole = max(file.known[1], file.event[1]) < before
    return whole or (not is_current and _is_compacted(file) and min(file.known[0], file.event[0]) < before)


def _is_compacted(file: DataFile) -> bool:
    return file.order[0] != file.added


def _cut(log: Log, folder: Folder, file: DataFile, before: datetime) -> _Cut | None:
    """The file without its old rows; None where all of them go, or none."""
    spans = (file.known, file.event)
    if not _is_compacted(file) or None in spans or _goes(file, before, is_current=True):
        return None
    if all(span is None or span[0] >= before for span in spans):
        return None
    schema = log.schema().all_columns
    rows = datafile.read(folder, [file], schema, list(schema))
    left = rows.filter(pl.max_horizontal(*TIMES) >= before)
    return None if left.height in {0, rows.height} else _Cut(file, left)


def _write(folder: Folder, cut: _Cut, before: datetime, timestamp: int) -> Add:
    name = f"retire\x00{cut.file.path}\x00{before.isoformat()}"
    return datafile.write_one(folder, cut.left, name, timestamp, order=cut.file.order, data_change=False)


def refuse_retired(files: list[DataFile], version: int) -> None:
    """Raise `NotFound` "table.rows_retired" where one of these files of an older version is retired."""
    gone = [file for file in files if file.retired is not None]
    if gone:
        raise NotFound(
            "table.rows_retired",
            f"{sum(file.rows for file in gone):,} rows of version {version} were retired, or lay beside such, in version {max(file.retired or 0 for file in gone)}",
            remedy="Read a later version. How long rows are kept is set by LOOPLINE_KEEP_PREDICTIONS and LOOPLINE_KEEP_QUARANTINE.",
            version=version,
        )
