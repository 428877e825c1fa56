"""Files: Parquet, CSV and JSON lines, one or many, new ones appearing over time."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from glob import glob, has_magic
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from loopline.errors import InvalidInput, NotFound
from loopline.sources.known import Modified
from loopline.sources.reader import Terms, settled
from loopline.sources.text import Kind, as_kinds, joined, kinds_of
from loopline.sources.times import check_zone, read_times
from loopline.values import EPOCH, MICROSECOND, Window

Format = Literal["parquet", "csv", "jsonl"]

_SUFFIXES: Mapping[str, Format] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
_PACKED = {".gz", ".zst", ".zstd"}
_KEPT_BYTES = 256 << 20

_Version = tuple[str, int, int]


@dataclass(frozen=True)
class Files:
    """A reader of files; make it with `files`."""

    patterns: tuple[str, ...]
    format: Format | None
    zone: str | None
    separator: str | None
    nulls: tuple[str, ...]
    rename: Mapping[str, str]
    _texts: "_Texts" = field(default_factory=lambda: _Texts(), repr=False, compare=False)  # noqa: PLW0108 - defined below

    def describe(self) -> dict[str, Any]:
        """What is read and how."""
        said = {"patterns": list(self.patterns), "format": self.format, "zone": self.zone, "separator": self.separator}
        return {"files": said | {"nulls": list(self.nulls), "rename": dict(self.rename)}}

    def read(self, window: Window, terms: Terms) -> pl.DataFrame:
        """The rows that became known in the window, of all files that are there now, in the order of their paths.

        A column of CSV is what all values in all files say. Raises `NotFound` "source.no_file" and `InvalidInput`
        ("source.unreadable_file", "source.unknown_format", and as `settled`), naming the file.
        """
        paths = [(path, _written(path)) for path in self._paths()]
        kinds = self._kinds([path for path, _ in paths])
        parts = []
        for path, written in paths:
            if not isinstance(terms.known_at, Modified) or written in window:
                with _naming(path):
                    parts.append(self._rows(path, written, kinds, window, terms))
        given = [part for part in parts if part.height]
        return pl.concat(given, how="diagonal_relaxed") if given else pl.DataFrame()

    def _paths(self) -> list[Path]:
        found = {Path(name) for pattern in self.patterns for name in paths_of(pattern)}
        return sorted(path for path in found if path.is_file())

    def _kinds(self, paths: list[Path]) -> Mapping[str, Kind]:
        """What the columns of CSV files hold, by all files."""
        texts = [path for path in paths if self._format(path) == "csv"]
        return joined(self._texts.kinds(path, self._parsed) for path in texts)

    def _rows(
        self, path: Path, written: datetime, kinds: Mapping[str, Kind], window: Window, terms: Terms
    ) -> pl.DataFrame:
        kind = self._format(path)
        if kind == "parquet":
            return settled(_scan(path, self.rename, window, terms), window, terms, self.zone, written=written)
        rows = self._texts.rows(path, self._parsed)
        if kind == "jsonl":
            return settled(rows, window, terms, self.zone, written=written)
        read = as_kinds(rows, kinds, terms.expected)
        moments = {name for name in rows.columns if kinds[name] == "moment" and name not in terms.expected}
        return settled(read_times(read, moments, self.zone), window, terms, self.zone, written=written)

    def _format(self, path: Path) -> Format:
        return format_of(path, self.format)

    def _parsed(self, path: Path) -> pl.DataFrame:
        with _naming(path):
            rows = _lines(path) if self._format(path) == "jsonl" else self._text(path)
        return rows.rename(dict(self.rename), strict=False)

    def _text(self, path: Path) -> pl.DataFrame:
        separator = self.separator or ("\t" if ".tsv" in path.suffixes else ",")
        return pl.read_csv(
            path,
            infer_schema=False,
            separator=separator,
            null_values=list(self.nulls) or None,
            raise_if_empty=False,
            glob=False,
        )


class _Texts:
    """Files of text as they were parsed: what their columns hold is remembered, their rows while there is room."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[_Version, Mapping[str, Kind]] = {}
        self._kept: dict[_Version, pl.DataFrame] = {}

    def kinds(self, path: Path, parse: Callable[[Path], pl.DataFrame]) -> Mapping[str, Kind]:
        version = _version(path)
        if version not in self._found:
            self._found[version] = kinds_of(self.rows(path, parse))
        return self._found[version]

    def rows(self, path: Path, parse: Callable[[Path], pl.DataFrame]) -> pl.DataFrame:
        version = _version(path)
        with self._lock:
            if version in self._kept:
                return self._kept[version]
        rows = parse(path)
        with self._lock:
            if sum(one.estimated_size() for one in self._kept.values()) + rows.estimated_size() > _KEPT_BYTES:
                self._kept.clear()
            if rows.estimated_size() <= _KEPT_BYTES:
                self._kept[version] = rows
        return rows


def files(
    *patterns: str,
    format: Format | None = None,  # noqa: A002 - the word of those who read files
    zone: str | None = None,
    separator: str | None = None,
    nulls: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
) -> Files:
    """Rows of files: Parquet, CSV or JSON lines, e.g. `files("data/orders-*.parquet")`; new files may appear at any time.

    Paths are taken from the folder that Loopline runs in; `**` goes into folders. `format` is by the file's ending unless said;
    `.gz` and `.zst` are unpacked. `zone` is that of times that name none. For CSV: `separator`; `nulls`, further texts that
    mean no value; a column is what all of its values say, and `007` is text. `rename` gives columns names that a table can have.

    Raises `InvalidInput` ("source.no_pattern", "source.unknown_zone", "source.unknown_format").
    """
    check_zone(zone)
    if not patterns or any("://" in pattern for pattern in patterns):
        raise InvalidInput(
            "source.no_pattern",
            "files(...) needs paths of local files",
            remedy='Write files("data/orders-*.parquet"); read object stores by sql("duckdb:", ...).',
        )
    if format is not None and format not in get_args(Format):
        raise InvalidInput(
            "source.unknown_format", f"format={format!r} is not known", remedy=f"Say one of {get_args(Format)}."
        )
    return Files(tuple(patterns), format, zone, separator, tuple(nulls), dict(rename or {}))


def format_of(path: Path, said: Format | None = None) -> Format:
    """The format that was said, or the one that the file's ending means. Raises `InvalidInput` "source.unknown_format"."""
    suffixes = [suffix for suffix in path.suffixes if suffix not in _PACKED]
    found = said or (_SUFFIXES.get(suffixes[-1].lower()) if suffixes else None)
    if found is None:
        raise InvalidInput(
            "source.unknown_format",
            f"the name of {path} does not say what it holds",
            remedy=f"Say which: format={' or '.join(repr(name) for name in get_args(Format))}.",
        )
    return found


def paths_of(pattern: str) -> list[str]:
    """The paths of a pattern. A pattern that matches none yet is fine where its folder is there, a missing file is not.

    Raises `NotFound` "source.no_file".
    """
    if Path(pattern).is_file():
        return [pattern]
    matches = glob(pattern, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    fixed = Path(*takewhile(lambda part: not has_magic(part), Path(pattern).parts))
    if matches or (has_magic(pattern) and fixed.is_dir()):
        return matches
    raise NotFound(
        "source.no_file",
        f"there is no {'folder ' + str(fixed) if has_magic(pattern) else 'file ' + pattern}",
        remedy=f"Paths are taken from the folder that this runs in: {Path.cwd()}.",
        pattern=pattern,
    )


def _version(path: Path) -> _Version:
    found = path.stat()
    return str(path), found.st_mtime_ns, found.st_size


def _written(path: Path) -> datetime:
    return EPOCH + path.stat().st_mtime_ns // 1000 * MICROSECOND


def _lines(path: Path) -> pl.DataFrame:
    return pl.DataFrame() if path.stat().st_size == 0 else pl.read_ndjson(path, infer_schema_length=None)


def _scan(path: Path, rename: Mapping[str, str], window: Window, terms: Terms) -> pl.DataFrame:
    """A Parquet file's rows; only those of the window are read where its times say their zone."""
    scan = pl.scan_parquet(path, glob=False, hive_partitioning=False).rename(dict(rename), strict=False)
    known, schema = terms.known_at, scan.collect_schema()
    dtype = schema.get(known) if isinstance(known, str) else None
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        column = pl.col(str(known))
        scan = scan.filter(column.is_between(window.start, window.end, closed="right") | column.is_null())
    return scan.collect()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors that say which file they are about."""
    try:
        yield
    except InvalidInput as error:
        if "file" not in error.context:
            error.context["file"] = str(path)
            error.message = f"{path}: {error.message}"
        raise
    except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        raise InvalidInput(
            "source.unreadable_file",
            f"{path}: {str(error).splitlines()[0]}",
            remedy="Is it still being written? Write a file under another name, and rename it when it is whole.",
            file=str(path),
        ) from error
