"""Files as people have them: one, a folder or a pattern, of Parquet, CSV, JSON lines, JSON or Arrow, read column by column."""

import glob
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl

from loopline.errors import InvalidInput, NotFound

_SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".json": "json",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
_PACKED = {".gz", ".zst"}
_GUESSED_FROM = 10_000
_LOOKED_AT = 200
_TIME_TEXT = r"^\s*\d{4}-\d{1,2}-\d{1,2}([ T]\d{1,2}:\d{2}.*)?$"
_NULLS = ["", "NA", "N/A", "null", "NULL", "None", "nan", "NaN"]


class Table:
    """The rows of some files, in the order of the files' names: columns are read when asked for, never all at once.

    Text files are first copied into one Parquet file in `scratch`, as a stream.
    """

    def __init__(self, where: str, lazy: pl.LazyFrame) -> None:
        self.where = where
        self._lazy = lazy
        try:
            self.schema = dict(lazy.collect_schema())
            self.rows = int(lazy.select(pl.len()).collect().item())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _unreadable(where, error) from error

    @property
    def typed(self) -> dict[str, pl.DataType]:
        """The schema, where a text that holds times is one of times."""
        texts = [name for name, dtype in self.schema.items() if dtype == pl.String]
        if not texts:
            return self.schema
        head = self._lazy.select(texts).head(_LOOKED_AT).collect()
        times = [one.name for one in head if one.drop_nulls().len() and one.drop_nulls().str.contains(_TIME_TEXT).all()]
        return self.schema | dict.fromkeys(times, pl.Datetime("us"))

    def read(self, columns: Iterable[pl.Expr | str]) -> pl.DataFrame:
        """These columns, of all rows, in the order of the files."""
        try:
            return self._lazy.select(*columns).collect(engine="streaming")
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _unreadable(self.where, error) from error

    def parts(self, columns: Iterable[pl.Expr | str], size: int) -> Iterator[pl.DataFrame]:
        """The same, so many rows at a time."""
        some = self._lazy.select(*columns)
        for begin in range(0, self.rows, size):
            yield self._part(some, begin, size)

    def part(self, columns: Iterable[pl.Expr | str], begin: int, size: int) -> pl.DataFrame:
        """The same, of so many rows from one on."""
        return self._part(self._lazy.select(*columns), begin, size)

    def _part(self, some: pl.LazyFrame, begin: int, size: int) -> pl.DataFrame:
        try:
            return some.slice(begin, size).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _unreadable(self.where, error) from error

    def first_known(self, column: str, most: int) -> pl.Series:
        """The first rows, at most so many, that hold something in the column; rows without anything where none does."""
        for part in self.parts([column], most):
            if part[column].null_count() < len(part):
                return part[column]
        return self.part([column], 0, most)[column]

    def tally(self, column: pl.Expr | str, at_most: int, size: int) -> pl.DataFrame | None:
        """Each `value` of a column that is not null, and how many `rows` have it; None where there are more than `at_most`."""
        found: pl.DataFrame | None = None
        for part in self.parts([column], size):
            fresh = part.to_series().drop_nulls().alias("value").value_counts(name="rows").cast({"rows": pl.Int64})
            both = fresh if found is None else pl.concat([found, fresh], how="vertical_relaxed")
            found = both.group_by("value", maintain_order=True).agg(pl.col("rows").sum())
            if len(found) > at_most:
                return None
        assert found is not None  # noqa: S101 - files without rows are refused before
        return found.sort("value")

    def after(self, first: pl.LazyFrame, columns: Sequence[str]) -> "Table":
        """These columns of `first`, and below it those of this table; one that this table lacks is null here."""
        own = [pl.col(name) if name in self.schema else pl.lit(None).alias(name) for name in columns]
        parts = [first.select(columns), self._lazy.with_columns(own).select(columns)]
        return Table(self.where, pl.concat(parts, how="vertical_relaxed"))


def open_table(where: str, scratch: Path) -> Table:
    """The table at `where`: a file, a folder (searched in depth) or a pattern such as `logs/*.parquet`.

    Raises `NotFound` without files and `InvalidInput` for a format that is not known, files that do not go together, files
    that cannot be read and files without rows.
    """
    paths = _paths(where)
    kinds = {_kind(path) for path in paths}
    if len(kinds) > 1:
        raise InvalidInput(
            "alone.mixed_formats",
            f"{where} has files of several formats: {', '.join(sorted(kinds))}",
            remedy="Name files of one format, e.g. with a pattern such as 'folder/*.parquet'.",
        )
    try:
        lazy = _lazy(kinds.pop(), paths, scratch)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(where, error) from error
    table = Table(where, lazy)
    if not table.rows or not table.schema:
        raise InvalidInput("alone.empty", f"{where} has no rows", remedy="Give files with at least some hundred rows.")
    return table


def _paths(where: str) -> list[Path]:
    path = Path(where).expanduser()
    if path.is_dir():
        inside = sorted(one for one in path.rglob("*") if one.is_file() and not _hidden(one.relative_to(path)))
        found = [one for one in inside if _suffix(one) in _SUFFIXES]
    elif path.is_file():
        found = [path]
    else:
        found = sorted(Path(one) for one in glob.glob(str(path), recursive=True) if Path(one).is_file())  # noqa: PTH207 - patterns may be absolute
    if not found:
        raise NotFound(
            "alone.no_file",
            f"there is no file to read at {where}",
            remedy="Give a file, a folder, or a pattern in quotes, of Parquet, CSV, JSON lines, JSON or Arrow.",
        )
    return found


def _hidden(path: Path) -> bool:
    """Such as `_SUCCESS` and `_delta_log`, which hold no rows."""
    return any(part.startswith((".", "_")) for part in path.parts)


def _suffix(path: Path) -> str:
    return Path(path.stem).suffix.lower() if path.suffix.lower() in _PACKED else path.suffix.lower()


def _kind(path: Path) -> str:
    kind = _SUFFIXES.get(_suffix(path))
    if kind is None:
        raise InvalidInput(
            "alone.unknown_format",
            f"the format of {path.name} is not known",
            remedy="Give .parquet, .csv, .tsv, .jsonl, .ndjson, .json, .arrow or .feather (text also with .gz).",
        )
    return kind


def _lazy(kind: str, paths: Sequence[Path], scratch: Path) -> pl.LazyFrame:
    if kind == "parquet":
        return _together([_parquet(path) for path in paths])
    if kind == "arrow":
        return _together([pl.scan_ipc(path) for path in paths])
    copies = [_copied(kind, path, scratch / f"{number}-{path.stem}.parquet") for number, path in enumerate(paths)]
    return _together(copies)


def _parquet(path: Path) -> pl.LazyFrame:
    """One file, with the columns that its folders' names give, such as `day=2024-01-01`."""
    return pl.scan_parquet(path, hive_partitioning=any("=" in part for part in path.parts), glob=False)


def _together(parts: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """One below the other; a column that only some files have is null in the others."""
    return parts[0] if len(parts) == 1 else pl.concat(parts, how="diagonal_relaxed")


def _copied(kind: str, path: Path, to: Path) -> pl.LazyFrame:
    to.parent.mkdir(parents=True, exist_ok=True)
    if kind == "json":
        pl.read_json(path, infer_schema_length=None).write_parquet(to)
        return pl.scan_parquet(to, glob=False)
    try:
        _text(kind, path, _GUESSED_FROM).sink_parquet(to)
    except (pl.exceptions.ComputeError, pl.exceptions.SchemaError, pl.exceptions.InvalidOperationError):
        # A later row holds another type than the first ones: look at all of them, which takes longer.
        _text(kind, path, None).sink_parquet(to)
    return pl.scan_parquet(to, glob=False)


def _text(kind: str, path: Path, guessed_from: int | None) -> pl.LazyFrame:
    if kind == "lines":
        return pl.scan_ndjson(path, infer_schema_length=guessed_from)
    separator = "\t" if kind == "tsv" else _separator(path)
    return pl.scan_csv(path, infer_schema_length=guessed_from, separator=separator, null_values=_NULLS)


def _separator(path: Path) -> str:
    """A comma, unless the first line has more semicolons or tabs."""
    first = pl.scan_csv(
        path, has_header=False, separator="\x01", quote_char=None, n_rows=1, infer_schema=False
    ).collect()
    text = str(first.item(0, 0)) if first.height else ""
    return max(",;\t", key=text.count)


def _unreadable(where: str, error: Exception) -> InvalidInput:
    told = str(error).strip().splitlines()
    return InvalidInput(
        "alone.unreadable",
        f"{where} cannot be read: {told[0] if told else type(error).__name__}",
        remedy="Check that the files are whole and all of one kind; Parquet is the safest.",
    )
