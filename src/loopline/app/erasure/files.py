"""A person in the other files of a home: logs, reports, whatever was put there. And the search through all files."""

import gzip
import mmap
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from loopline.access.erasure import Eraser, Removed, Target
from loopline.access.needles import Needles
from loopline.app.erasure.content import cleaned_rows, layers, theirs_in
from loopline.loop.receipt import Left, Searched
from loopline.storage.files import PENDING, write_file

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"


def eraser(home: Path, *, apart: Callable[[], Collection[Path]]) -> Eraser:
    """Puts stars over what names the person in every file below `home` but for those below `apart`, which have erasers of their own.

    The length stays, and with it the place at which another process appends. Compressed files are packed anew, Parquet files lose
    the rows. Other files that are not text are left: the search tells of them.
    """

    def sweep(target: Target, *, dry: bool) -> Collection[Removed]:
        done = []
        for path in files_below(home, apart()):
            count = _masked(path, target, dry=dry)
            if count:
                done.append(Removed(f"file {path.relative_to(home)}", "places", count))
        return done

    return Eraser("files", sweep)


def search(roots: Callable[[], Collection[Path]], home: Path, target: Target, kept: Collection[Path]) -> Searched:
    """Read every file below `roots`, unpacked where it is packed, and tell where the person is found. Not in tables that are
    `kept`; nor in the folders of keys, which hold random bytes.
    """
    count = size = 0
    left = []
    for path in sorted({path for root in roots() for path in files_below(root, kept)}):
        with suppress(FileNotFoundError):  # what others shipped or rotated meanwhile is gone
            size += path.stat().st_size
            found = _found(path, target.needles)
            count += 1
            if found or target.needles.found(path.name.encode()):
                left.append(Left(_below(path, home), found or 1))
    return Searched(count, size, len(target.needles.texts), left)


def files_below(root: Path, apart: Collection[Path]) -> Iterator[Path]:
    """Every file below `root`, sorted, but for those at or below `apart`. Links are not followed."""
    if root in apart:
        return
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if path in apart or path.is_symlink():
            continue
        if path.is_dir():
            yield from files_below(path, apart)
        elif path.is_file():
            yield path


def _found(path: Path, needles: Needles) -> int:
    with path.open("rb") as file:
        if not path.stat().st_size:
            return 0
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return sum(needles.found(part, binary=binary) for part, binary in layers(content))


def _masked(path: Path, target: Target, *, dry: bool) -> int:
    needles = target.needles
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return 0
    if content[:4] == _PARQUET:
        return _without_rows(path, content, target, dry=dry)
    if content[:2] == _GZIP:
        return _masked_zip(path, content, needles, dry=dry)
    if path.suffix == ".json" and (changed := _changed_json(content, needles)) is not None:
        return _rewritten(path, content, changed, needles, dry=dry)
    binary = b"\x00" in content and not _is_utf16(content)
    count = 0 if binary else needles.found(content)
    if count and not dry:
        if path.name.startswith(PENDING):
            path.unlink(missing_ok=True)
        else:
            _overwrite(path, needles.places(content))
    return count


def _overwrite(path: Path, places: Iterator[tuple[int, int]]) -> None:
    """Only the bytes that change: another process may append at this moment."""
    with path.open("r+b") as file:
        for start, end in places:
            file.seek(start)
            file.write(b"*" * (end - start))
        file.flush()
        os.fsync(file.fileno())


def _changed_json(content: bytes, needles: Needles) -> bytes | None:
    """A whole JSON document with pseudonyms, so that it stays one; None where it is none."""
    try:
        said = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return None
    changed = needles.hidden_in(said)
    return content if changed == said else msgspec.json.format(msgspec.json.encode(changed), indent=2)


def _rewritten(path: Path, content: bytes, changed: bytes, needles: Needles, *, dry: bool) -> int:
    if changed == content:
        return 0
    if not dry:
        write_file(path, changed)
    return needles.found(content)


def _without_rows(path: Path, content: bytes, target: Target, *, dry: bool) -> int:
    left, count = cleaned_rows(content, theirs_in(target))
    if count and not dry:
        write_file(path, left)
    return count


def _masked_zip(path: Path, content: bytes, needles: Needles, *, dry: bool) -> int:
    try:
        unpacked = gzip.decompress(content)
    except (OSError, EOFError):
        return 0
    count = needles.found(unpacked)
    if count and not dry:
        write_file(path, gzip.compress(needles.masked(unpacked), mtime=0))
    return count


def _is_utf16(content: bytes) -> bool:
    return content[:2] in (b"\xff\xfe", b"\xfe\xff")


def _below(path: Path, home: Path) -> str:
    return str(path.relative_to(home)) if path.is_relative_to(home) else str(path)
