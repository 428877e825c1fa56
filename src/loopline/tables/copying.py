"""A table, file by file: read for a backup, written from one."""

from collections.abc import Collection, Iterable, Iterator

from loopline.tables.folder import Folder, file_missing

_LOG = "_delta_log"


def entry_name(version: int) -> str:
    """The name of the log entry that makes `version`."""
    return f"{_LOG}/{version:020d}.json"


def copy_at(folder: Folder, needed: Collection[str], version: int) -> Iterator[tuple[str, bytes]]:
    """Names and bytes: the data files, of which `needed` must be there, then the log entries up to `version`."""
    present = {name for name in folder.names() if name.endswith(".parquet") and not name.startswith(f"{_LOG}/")}
    for name in sorted(present | set(needed)):
        content = folder.read(name)
        if content is not None:
            yield name, content
        elif name in needed:
            raise file_missing(folder.url, name)
    yield from zip(
        map(entry_name, range(version + 1)),
        folder.read_on(map(entry_name, range(version + 1))),
        strict=True,
    )


def write(folder: Folder, files: Iterable[tuple[str, bytes]]) -> None:
    """Write the files of a table; its first log entry, which makes it one, last."""
    folder.make(_LOG)
    first = b""
    for name, content in files:
        if name == entry_name(0):
            first = content
        else:
            folder.put(name, content)
    folder.put(entry_name(0), first)
