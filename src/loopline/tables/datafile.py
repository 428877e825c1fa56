"""A table's Parquet files and what the log knows of each."""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

import polars as pl

from loopline.errors import Corrupt
from loopline.tables.actions import Add, Stats, decode_stats, encode_stats
from loopline.tables.folder import Folder, file_missing
from loopline.values import utc

MAX_ROWS = 250_000
_ROW_GROUP = 50_000
TIMES = ("_known_at", "_event_time")
_ORDER_TAG = "loopline.order"
_TIME_TEXT = "%Y-%m-%dT%H:%M:%S.%fZ"

Span = tuple[datetime, datetime] | None
Order = tuple[int, int]


@dataclass(slots=True)
class DataFile:
    """A Parquet file of the table: part of it from version `added` until before version `removed` (None: still is).

    `known` and `event` are the least and greatest `_known_at` and `_event_time` inside, None where not known. `order` is
    (version, index) of the oldest rows inside: files in this order hold the rows in append order. From version `retired` on it is no version's
    any more, older ones' neither.
    """

    path: str
    size: int
    rows: int
    known: Span
    event: Span
    order: Order
    added: int
    removed: int | None = None
    retired: int | None = None

    def at(self, version: int) -> bool:
        """Whether the file is part of the table at `version`."""
        return self.added <= version and (self.removed is None or self.removed > version)


def from_add(add: Add, version: int, index: int) -> DataFile:
    """The data file that `add`, the `index`th of its log entry, brings into the table at `version`."""
    stats = decode_stats(add.stats)
    known, event = (_span(stats, name) for name in TIMES)
    order = _read_order(add) or (version, index)
    return DataFile(unquote(add.path), add.size, stats.num_records, known, event, order, version)


def write(folder: Folder, frame: pl.DataFrame, name: str, modified: int) -> Iterator[Add]:
    """Write `frame` (no file for no rows), in files of at most `MAX_ROWS` rows. Equal frames under an equal `name` give equal
    files, so that a retry after a crash overwrites and leaves nothing behind. `modified` is in milliseconds since 1970 UTC.
    """
    for part in frame.iter_slices(MAX_ROWS):
        if part.height:
            yield write_one(folder, part, name, modified)


def write_one(
    folder: Folder,
    frame: pl.DataFrame,
    name: str,
    modified: int,
    *,
    order: Order | None = None,
    data_change: bool = True,
) -> Add:
    """Write `frame` as one file; `order` where it holds rows of older files."""
    content = encoded(frame)
    identity = hashlib.sha256(name.encode() + b"\x00" + content).hexdigest()
    path = f"part-{identity[:32]}.parquet"
    folder.put(path, content)
    tags: dict[str, str | None] | None = {_ORDER_TAG: f"{order[0]}.{order[1]}"} if order else None
    return Add(quote(path), len(content), modified, data_change, statistics(frame), tags)


def staged(folder: Folder, path: str, modified: int) -> Add | None:
    """What brings a file into the table that was written before, told from the file: an erasure may have changed it since. None
    where no row is left. Raises `Corrupt` (`table.staged_missing`).
    """
    content = folder.read(path)
    if content is None:
        raise Corrupt(
            "table.staged_missing",
            f"the file {path} of rows that were not yet appended is gone from {folder.url}",
            remedy="Something removed it. Begin what wrote it again.",
        )
    frame = pl.read_parquet(io.BytesIO(content), columns=list(TIMES))
    return Add(quote(path), len(content), modified, data_change=True, stats=statistics(frame)) if frame.height else None


def encoded(frame: pl.DataFrame) -> bytes:
    """The Parquet file of `frame`."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=1, row_group_size=_ROW_GROUP)
    return buffer.getvalue()


def path_of(url: str) -> str:
    """The path below the table's folder that a log entry writes as `url`."""
    return unquote(url)


def statistics(frame: pl.DataFrame) -> str:
    """What the log is told of a file's rows: how many, and the bounds of their times. Of no other column: it would be a copy."""
    least, greatest = (
        {name: value.strftime(_TIME_TEXT) for name, value in row.items() if value is not None}
        for row in (
            frame.select(pl.col(TIMES).min()).row(0, named=True),
            frame.select(pl.col(TIMES).max()).row(0, named=True),
        )
    )
    return encode_stats(Stats(frame.height, least, greatest, dict.fromkeys(TIMES, 0)))


def read(folder: Folder, files: list[DataFile], schema: dict[str, pl.DataType], columns: list[str]) -> pl.DataFrame:
    """The `columns` of the rows of `files`, in order; columns that a file is too old to have are null.

    Raises `Corrupt` (`table.file_missing`).
    """
    if not files:
        return pl.DataFrame(schema=schema).select(columns)
    names = [file.path for file in files]
    while True:
        before = folder.marks(names)
        try:
            frame = _collected(folder, names, schema, columns)
        except (pl.exceptions.PolarsError, OSError):
            if folder.marks(names) == before:
                raise
            continue
        if folder.marks(names) == before:  # an erasure puts another file under the same name
            return frame


def _collected(folder: Folder, names: list[str], schema: dict[str, pl.DataType], columns: list[str]) -> pl.DataFrame:
    scan = pl.scan_parquet(
        folder.scanned(names),
        schema=schema,
        missing_columns="insert",
        glob=False,
        hive_partitioning=False,
        credential_provider=None,  # the environment says it, as for every other access
    )
    try:
        return scan.select(columns).collect()
    except FileNotFoundError as error:
        raise file_missing(folder.url, error) from error


def _span(stats: Stats, name: str) -> Span:
    least, greatest = stats.min_values.get(name), stats.max_values.get(name)
    if least is None or greatest is None:
        return None
    # Other writers may cut statistics to milliseconds, so the greatest may lie up to one above what they say.
    slack = timedelta(0) if len(greatest) == len("2024-01-01T00:00:00.000000Z") else timedelta(milliseconds=1)
    return _time(least), _time(greatest) + slack


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return utc(moment) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _read_order(add: Add) -> Order | None:
    text = (add.tags or {}).get(_ORDER_TAG)
    if text is None:
        return None
    version, index = text.split(".")
    return int(version), int(index)
