"""Rows out of files that nobody has described: all of them, or an even sample where they are too many."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from loopline.errors import InvalidInput, LooplineError
from loopline.storage.scratch import scratch_folder
from loopline.tables.proposal.dialect import Dialect, dialect_of, transcode
from loopline.tables.proposal.finding import Finding
from loopline.tables.proposal.places import Format, find_files, format_of, is_packed

CELLS = 4_000_000
_LEAST, _MOST = 20_000, 500_000
_PARTS = 1_000_000
_STRICTNESS: tuple[dict[str, Any], ...] = ({}, {"truncate_ragged_lines": True}, {"truncate_ragged_lines": True, "quote_char": None})  # fmt: skip
_NESTED = (pl.List, pl.Struct, pl.Array, pl.Object, pl.Binary, pl.Duration, pl.Time)


@dataclass(frozen=True)
class Extract:
    """What was read. `frame` holds the rows looked at, text formats as text throughout; `rows` counts all there are.

    `dtypes` are those of the files, from which lists, categories and decimals have become plain. `lazy` gives all rows again, as long as the `extracting` block lasts. `dialect` is that of the first CSV file.
    """

    frame: pl.DataFrame
    lazy: pl.LazyFrame
    rows: int
    files: list[str]
    format: Format
    dialect: Dialect | None
    nested: tuple[str, ...] = ()
    dtypes: dict[str, pl.DataType] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_sample(self) -> bool:
        """Whether rows were left out."""
        return self.frame.height < self.rows

    @property
    def is_text(self) -> bool:
        """Whether the files say nothing of types."""
        return self.format == "csv"


@contextmanager
def extracting(where: str, *, rows: int | None = None, seed: int = 0) -> Iterator[Extract]:
    """Read the file, folder or pattern. At most `rows` rows are kept (0: all); by default as many as can be looked at in seconds.

    A sample is even over all files, chosen by row number and `seed`; memory is bounded by it, but for spreadsheets and JSON
    arrays, which are read whole. Raises `NotFound` without files, and `InvalidInput` for what cannot be read.
    """
    paths = find_files(where)
    kind = format_of(paths)
    with scratch_folder() as scratch:
        yield _readable(where, paths, kind, scratch, rows, seed)


def _readable(where: str, paths: list[Path], kind: Format, scratch: Path, rows: int | None, seed: int) -> Extract:
    try:
        return _extract(paths, kind, scratch, rows, seed)
    except LooplineError:
        raise
    except Exception as error:  # each format's reader has errors of its own
        told = str(error).strip().splitlines()
        raise InvalidInput(
            "check.unreadable",
            f"{where} cannot be read: {told[0] if told else type(error).__name__}",
            remedy="Is the file whole, and is it what its name says?",
        ) from error


def _extract(paths: list[Path], kind: Format, scratch: Path, limit: int | None, seed: int) -> Extract:
    findings: list[Finding] = []
    sources = [_source(path, scratch / f"{number}.csv", findings) for number, path in enumerate(paths)] if kind == "csv" else []  # fmt: skip
    typed = [] if kind == "csv" else [_typed(path, kind, findings) for path in paths]
    for options in _STRICTNESS if kind == "csv" else _STRICTNESS[:1]:
        parts = typed or [_scan(source, dialect, options) for source, dialect in sources]
        whole = parts[0] if len(parts) == 1 else pl.concat(parts, how="diagonal_relaxed")
        dtypes = dict(whole.collect_schema())
        together, nested = _flat(whole)
        try:
            frame, count = _sample(together, limit, seed)
        except pl.exceptions.ComputeError:
            if kind != "csv" or options is _STRICTNESS[-1]:
                raise
            continue
        break
    findings += [*_loosened(findings, options), *_differing(paths, parts)]
    dialect = sources[0][1] if sources else None
    return Extract(frame, together, count, [str(path) for path in paths], kind, dialect, nested, dtypes, findings)


def _loosened(findings: list[Finding], options: dict[str, Any]) -> list[Finding]:
    """What is wrong where lines could not be read as they should be."""
    quotes = "quote_char" in options
    if not options or (not quotes and any(finding.code == "ragged" for finding in findings)):
        return []
    said = "there are quotes that do not close" if quotes else "lines have more fields than the header"
    return [Finding(level="error", code="quotes" if quotes else "ragged", message=f"{said}.", remedy="Was the file cut, or is a separator in a value not quoted?")]  # fmt: skip


def _limit(width: int, said: int | None) -> int:
    if said is not None:
        return said or 1 << 62
    return max(_LEAST, min(_MOST, CELLS // max(width, 1)))


def _sample(lazy: pl.LazyFrame, said: int | None, seed: int) -> tuple[pl.DataFrame, int]:
    """The rows to look at, and how many there are."""
    width = len(lazy.collect_schema())
    count = int(lazy.select(pl.len()).collect(engine="streaming").item()) if width else 0
    limit = _limit(width, said)
    if count <= limit:
        frame = lazy.collect()
        return frame, frame.height
    place = "loopline row"
    kept = pl.col(place).hash(seed) % _PARTS < math.ceil(limit / count * _PARTS)
    return lazy.with_row_index(place).filter(kept).drop(place).collect(engine="streaming"), count


def _source(path: Path, scratch: Path, findings: list[Finding]) -> tuple[Path, Dialect]:
    """The file in UTF-8, and how it is written."""
    dialect = dialect_of(path)
    findings += dialect.findings
    if dialect.encoding.startswith("utf-8") and not is_packed(path):
        return path, dialect
    transcode(path, dialect.encoding, scratch)
    return scratch, dialect


def _scan(source: Path, dialect: Dialect, options: dict[str, Any]) -> pl.LazyFrame:
    if not _has_text(source):
        return pl.LazyFrame()
    lazy = pl.scan_csv(source, separator=dialect.separator, has_header=dialect.header, infer_schema=False, glob=False, **options)  # fmt: skip
    names = lazy.collect_schema().names()
    said = dialect.names if len(dialect.names) == len(names) else tuple(names if dialect.header else [""] * len(names))
    return lazy.rename(dict(zip(names, unique_names(said), strict=True)))


def _has_text(source: Path) -> bool:
    with source.open("rb") as file:
        return bool(file.read(1 << 16).strip(b" \r\n\t\xef\xbb\xbf"))


def _typed(path: Path, kind: Format, findings: list[Finding]) -> pl.LazyFrame:
    if kind == "parquet":
        return pl.scan_parquet(path, glob=False, hive_partitioning=any("=" in part for part in path.parts))
    if kind == "jsonl":
        return _lines(path, findings)
    if kind == "json":
        return pl.read_json(path, infer_schema_length=None).lazy()
    sheet = pl.read_excel(path, infer_schema_length=None, raise_if_empty=False)
    return sheet.lazy()


def _lines(path: Path, findings: list[Finding]) -> pl.LazyFrame:
    if path.stat().st_size == 0:
        return pl.LazyFrame()
    try:
        lazy = pl.scan_ndjson(path, infer_schema_length=None)
        lazy.select(pl.len()).collect(engine="streaming")
    except (pl.exceptions.PolarsError, BaseExceptionGroup):
        return _lines_as_text(path, findings)
    return lazy


def _lines_as_text(path: Path, findings: list[Finding]) -> pl.LazyFrame:
    """Lines whose values are now of one type, now of another: the first rows, as text."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        rows = [json.loads(line) for line in islice((line for line in file if line.strip()), _MOST)]
    records = [row if isinstance(row, dict) else {"value": row} for row in rows]
    names = list(dict.fromkeys(name for record in records for name in record))
    found = {name: [_text(record.get(name)) for record in records] for name in names}
    message = f"{path.name} has columns whose values are of several types; all were read as text."
    findings.append(Finding(level="warning", code="mixed-json", message=message))
    return pl.LazyFrame(found, schema=dict.fromkeys(names, pl.String))


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _flat(lazy: pl.LazyFrame) -> tuple[pl.LazyFrame, tuple[str, ...]]:
    """Without what cannot be looked at: lists and records become text; categories, text; decimals, numbers."""
    schema = lazy.collect_schema()
    nested = tuple(name for name, dtype in schema.items() if isinstance(dtype, _NESTED))
    made = [_plain(name, dtype) for name, dtype in schema.items()]
    return lazy.select(made) if made else lazy, nested


def _plain(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(dtype, (pl.List, pl.Array)):
        return pl.struct(column).struct.json_encode().alias(name)
    if isinstance(dtype, (pl.Categorical, pl.Enum, pl.Time)):
        return column.cast(pl.String)
    if isinstance(dtype, (pl.Decimal, pl.Float32)):
        return column.cast(pl.Float64)
    return _plain_bytes(column, dtype)


def _plain_bytes(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Struct):
        return column.struct.json_encode()
    if isinstance(dtype, pl.Binary):
        return column.bin.encode("hex")
    if isinstance(dtype, pl.Duration):
        return column.dt.total_microseconds() / 1e6
    return column.dt.cast_time_unit("us") if isinstance(dtype, pl.Datetime) else column


def _differing(paths: Sequence[Path], parts: Sequence[pl.LazyFrame]) -> list[Finding]:
    schemas = [dict(part.collect_schema()) for part in parts]
    wrong = [path.name for path, schema in zip(paths, schemas, strict=True) if list(schema) != list(schemas[0])]
    if not wrong:
        return []
    message = f"{len(wrong)} of {len(paths)} files have other columns than {paths[0].name}, such as {wrong[0]}."
    return [
        Finding(level="warning", code="differing-files", message=message, remedy="Columns that a file lacks are null.")
    ]


def unique_names(names: Sequence[str]) -> list[str]:
    """The names made different and not empty, by number."""
    made: list[str] = []
    for place, name in enumerate(names, 1):
        base = name.strip().replace("\ufeff", "") or f"column_{place}"
        given, number = base, 2
        while given in made:
            given, number = f"{base}_{number}", number + 1
        made.append(given)
    return made
