"""Takes an input in: reads it once, checks every row, and keeps what will be scored in parts that nothing changes any more."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from loopline.errors import InvalidInput
from loopline.scoring.batch.duplicates import Hashes, duplicates, hashes
from loopline.scoring.batch.frame_contract import REASON, ROW, FrameContract, duplicate_reasons, first_refused
from loopline.scoring.carried import GROUP
from loopline.sources.whole import Input
from loopline.storage.files import make_folder, sync_folder
from loopline.storage.out_of_core import sort_files

Policy = Literal["refuse", "quarantine"]
Progress = Callable[[int], None]

ORIGINAL = "_original"
_READ_AT_ONCE = 50_000


@dataclass(frozen=True)
class Taken:
    """What was taken in: how many rows, in how many parts, and how many of the rows have a reason not to be scored.

    `digest` covers the rows in their order.
    """

    rows: int
    parts: int
    refused: int
    digest: str


def part_path(folder: Path, part: int) -> Path:
    """Where the rows of a part are kept."""
    return folder / f"rows-{part:06d}.parquet"


def take_in(
    source: Input,
    contract: FrameContract,
    folder: Path,
    *,
    part_rows: int,
    policy: Policy,
    hashed: bool,
    progress: Progress = lambda _: None,
) -> Taken:
    """Read `source` into parts of `part_rows` rows in `folder`, which is emptied first; durable once this returns.

    Parts hold what `FrameContract.read` gives, in order, and `_original`: a refused row as JSON. A ranking's rows are sorted by
    group, and no group is in two parts. `hashed`: with a digest, which takes time.

    Raises `InvalidInput`: for a missing column, for no rows (`batch.no_rows`), and, where the policy is to refuse, for the first row
    that breaks the contract.
    """
    shutil.rmtree(folder, ignore_errors=True)
    scratch = folder / "scratch"
    make_folder(scratch)
    intake = _Intake(contract, folder, part_rows, policy, hashlib.sha256() if hashed else None)
    for frame in source.batches(min(part_rows, _READ_AT_ONCE), scratch, contract.wanted):
        intake.take(frame)
        progress(intake.rows)
    intake.finish(scratch)
    shutil.rmtree(scratch)
    for part in range(intake.parts):
        _sync(part_path(folder, part))
    sync_folder(folder)
    told = f"sha256:{intake.seen.hexdigest()}" if intake.seen else ""
    return Taken(intake.rows, intake.parts, intake.refused, told)


@dataclass
class _Intake:
    contract: FrameContract
    folder: Path
    part_rows: int
    policy: Policy
    seen: "hashlib._Hash | None"
    rows: int = 0
    parts: int = 0
    refused: int = 0
    _waiting: list[pl.DataFrame] = field(default_factory=list)
    _found: list[Hashes] = field(default_factory=list)

    def take(self, frame: pl.DataFrame) -> None:
        """Check a portion of the input, and keep it."""
        rows = self.contract.read(frame, self.rows)
        self._refuse(rows)
        if self.seen is not None:
            self.seen.update(rows.drop(ROW).write_csv().encode())
        self.rows += frame.height
        self.refused += rows[REASON].count()
        self._found.append(hashes(rows, *self._identity))
        self._waiting.append(_with_original(rows, frame))
        while sum(one.height for one in self._waiting) >= self.part_rows:
            whole = pl.concat(self._waiting)
            self._write(whole.head(self.part_rows))
            self._waiting = [whole.slice(self.part_rows)]

    def finish(self, scratch: Path) -> None:
        """Write what is left, mark the rows that repeat another, and put groups together."""
        if not self.rows:
            raise InvalidInput("batch.no_rows", "the input has no rows", remedy="Check the files, or the query.")
        left = pl.concat(self._waiting)
        if left.height:
            self._write(left)
        self._mark_duplicates()
        if self.contract.deployment.group is not None:
            self._regroup(scratch)

    @property
    def _identity(self) -> tuple[str, str]:
        return self.contract.deployment.key, self.contract.deployment.at

    def _refuse(self, rows: pl.DataFrame) -> None:
        if self.policy == "refuse" and (error := first_refused(rows, self._identity[0])) is not None:
            raise error

    def _mark_duplicates(self) -> None:
        paths = [part_path(self.folder, part) for part in range(self.parts)]
        again = duplicates(self._found, paths, *self._identity)
        self._found.clear()
        for path in paths if again else ():
            before = pl.read_parquet(path)
            rows = duplicate_reasons(before.drop(ORIGINAL), again, self._identity[0])
            self._refuse(rows)
            added = rows[REASON].count() - before[REASON].count()
            if added:
                self.refused += added
                kept = pl.coalesce(ORIGINAL, _as_json(rows, rows[REASON]).alias(ORIGINAL))
                _put(path, rows.with_columns(before[ORIGINAL]).with_columns(kept))

    def _regroup(self, scratch: Path) -> None:
        paths = [part_path(self.folder, part) for part in range(self.parts)]
        whole = scratch / "sorted.parquet"
        sort_files(paths, whole, by=[GROUP, ROW], scratch=scratch)
        for path in paths:
            path.unlink()
        self.parts = 0
        for rows in _whole_groups(whole, self.part_rows):
            self._write(rows)
        whole.unlink()

    def _write(self, rows: pl.DataFrame) -> None:
        _put(part_path(self.folder, self.parts), rows)
        self.parts += 1


def _whole_groups(path: Path, part_rows: int) -> Iterator[pl.DataFrame]:
    """The rows of a file that is sorted by group, in portions of about `part_rows`, cut between groups."""
    kept = pl.DataFrame()
    for batch in pl.scan_parquet(path, glob=False).collect_batches(chunk_size=part_rows, maintain_order=True):
        kept = pl.concat([kept, batch]) if kept.height else batch
        begins = (kept[GROUP].ne_missing(kept[GROUP].shift(1))).arg_true()
        cut = int(begins[-1]) if len(begins) else 0
        if cut >= part_rows or kept.height >= 2 * part_rows > 0 < cut:
            yield kept.head(cut)
            kept = kept.slice(cut)
    if kept.height:
        yield kept


def _with_original(rows: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(_as_json(frame, rows[REASON]).alias(ORIGINAL))


def _as_json(frame: pl.DataFrame, reasons: pl.Series) -> pl.Series:
    """The rows that have a reason, as JSON text; null for the others."""
    bad = reasons.is_not_null()
    if not bad.any():
        return pl.repeat(None, frame.height, dtype=pl.String, eager=True)
    shown = frame.select(name for name in frame.columns if not name.startswith("_") or name == "_key").filter(bad)
    binary = [pl.col(name).bin.encode("base64") for name, dtype in shown.schema.items() if dtype == pl.Binary]
    texts = shown.with_columns(binary).select(_row_as_json(shown)).to_series()
    places = (bad.cum_sum().cast(pl.Int64) - 1).clip(0)
    return pl.select(pl.when(bad).then(texts.gather(places))).to_series()


def _row_as_json(shown: pl.DataFrame) -> pl.Expr:
    """JSON has no NaN and no infinity: a row that has one has all of its floats as text, or what is wrong with it would be gone."""
    floats = [name for name, dtype in shown.schema.items() if dtype.is_float()]
    plain = pl.struct(pl.all()).struct.json_encode()
    if not floats:
        return plain
    told = pl.struct(pl.all().exclude(floats), pl.col(floats).cast(pl.String)).struct.json_encode()
    finite = pl.all_horizontal(pl.col(floats).is_finite().fill_null(value=True))
    return pl.when(finite).then(plain).otherwise(told)


def _put(path: Path, rows: pl.DataFrame) -> None:
    rows.write_parquet(path, compression="lz4", statistics=False)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
