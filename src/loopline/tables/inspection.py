"""Whether a table's log and its files agree."""

import io
from collections.abc import Iterator
from datetime import datetime

import polars as pl

from loopline.storage.files import PENDING
from loopline.tables.datafile import DataFile
from loopline.tables.folder import Folder
from loopline.tables.log import Log

_LOG = "_delta_log"
_UNFINISHED = ".tmp"


def damage(log: Log, folder: Folder, *, deep: bool) -> Iterator[tuple[str, str]]:
    """Names of data files that a version of the table needs, each with what is wrong with it; `deep` reads every row."""
    present = set(folder.names())
    for file in log.refresh().every_file():
        if file.path not in present:
            yield file.path, "is gone"
        elif (size := folder.size(file.path)) != file.size:
            yield file.path, f"has {size} bytes and not {file.size}"
        elif deep and (wrong := _unreadable(folder, file)):
            yield file.path, wrong


def strays(log: Log, folder: Folder, before: datetime) -> list[str]:
    """Names of files that no version has and that were written before that moment: of writers that died, or staged."""
    listed, known = folder.names(), log.refresh().paths()
    found = [name for name in listed if _is_stray(name, known)]
    return [name for name in found if (written := folder.modified(name)) is not None and written < before]


def _is_stray(name: str, known: set[str]) -> bool:
    parent, _, last = name.rpartition("/")
    if last.startswith(PENDING) or last.endswith(_UNFINISHED):
        return True
    return name.endswith(".parquet") and not parent.startswith(_LOG) and name not in known


def _unreadable(folder: Folder, file: DataFile) -> str | None:
    try:
        rows = pl.read_parquet(io.BytesIO(folder.read(file.path) or b"")).height
    except (pl.exceptions.PolarsError, OSError) as error:
        return f"cannot be read ({type(error).__name__})"
    return None if rows == file.rows else f"has {rows} rows and not {file.rows}"
