"""Scores into a file: part by part beside it, then one file that appears whole under its name."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from loopline.errors import Conflict, InvalidInput
from loopline.evaluation.kind import Output
from loopline.scoring.batch.destination import Committed
from loopline.scoring.record import FEATURE_PREFIX
from loopline.storage.files import PENDING, sync_folder, write_file
from loopline.values import canonical_json

FORMATS = (".parquet", ".csv")

_FIRST = {"_key": "key", "_event_time": "at"}
_KEPT = ("prediction_id", "score", "decision", "variant", "degraded", "scored_at")
_RANKED = ("group", "position")


class _Receipt(msgspec.Struct, frozen=True):
    """What a file holds, beside it."""

    writer: str
    rows: int
    size: int
    told: dict[str, Any]


@dataclass(frozen=True)
class FileDestination:
    """The file `path`, Parquet or CSV by its ending; `folder` is for parts. Beside it `PATH.json` says what it was made from, and
    refused rows come into `NAME.refused.ENDING`.

    A row has `key`, `at`, `score`, `decision`, one column for each class or level, the codes, and the fields as used. Raises
    `InvalidInput` "batch.unknown_ending".
    """

    path: Path
    folder: Path
    output: Output

    def __post_init__(self) -> None:
        if self.path.suffix not in FORMATS:
            raise InvalidInput(
                "batch.unknown_ending",
                f"{self.path} says no format",
                remedy=f"Give a name that ends in {' or '.join(FORMATS)}.",
            )

    @property
    def receipt(self) -> Path:
        """Where it is said what the file was made from."""
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def refused(self) -> Path:
        """Where the refused rows go."""
        return self.path.with_name(f"{self.path.stem}.refused{self.path.suffix}")

    def refuse_taken(self) -> None:
        """Raise `Conflict` "batch.file_exists" where something is there already."""
        if self.path.exists():
            raise Conflict(
                "batch.file_exists",
                f"{self.path} is there already, and was not made from this",
                remedy="Give another name, or --again to put the new scores in its place.",
            )

    def committed(self, writer: str) -> Committed | None:
        """As the receipt says, of the file as it was left."""
        try:
            said = msgspec.json.decode(self.receipt.read_bytes(), type=_Receipt)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        same = said.writer == writer and self.path.exists() and self.path.stat().st_size == said.size
        return Committed(str(self.path), said.rows) if same else None

    def write(self, writer: str, part: int, records: pl.DataFrame) -> list[str]:  # noqa: ARG002 - the folder is the writer's
        """One Parquet file."""
        return self._put(f"scores-{part:06d}.parquet", _shown(records, self.output)) if records.height else []

    def set_aside(self, writer: str, part: int, refused: pl.DataFrame) -> list[str]:  # noqa: ARG002 - the folder is the writer's
        """One Parquet file."""
        shown = refused.select(key="_key", at="_event_time", reason="_reason", row="row")
        return self._put(f"refused-{part:06d}.parquet", shown) if refused.height else []

    def commit(
        self, writer: str, files: Iterable[str], aside: Iterable[str], provenance: Mapping[str, Any]
    ) -> Committed:
        """The refused rows first, then the scores, then the receipt."""
        scored, put_aside = list(files), list(aside)
        if put_aside:
            self._assemble(put_aside, self.refused)
        if not scored:
            raise InvalidInput(
                "batch.nothing_to_write", "no row of the input can be scored", remedy=f"See why in {self.refused}."
            )
        rows = self._assemble(scored, self.path)
        told = msgspec.json.decode(canonical_json(dict(provenance)))
        receipt = _Receipt(writer, rows, self.path.stat().st_size, told)
        write_file(self.receipt, msgspec.json.format(msgspec.json.encode(receipt), indent=2))
        return Committed(str(self.path), rows)

    def discard(self, files: Iterable[str], aside: Iterable[str]) -> None:
        """The parts."""
        for name in (*files, *aside):
            (self.folder / name).unlink(missing_ok=True)

    def _put(self, name: str, rows: pl.DataFrame) -> list[str]:
        pending = self.folder / f"{PENDING}{name}"
        rows.write_parquet(pending, compression="zstd", compression_level=1)
        _into_place(pending, self.folder / name)
        return [name]

    def _assemble(self, names: list[str], to: Path) -> int:
        lazy = pl.scan_parquet([self.folder / name for name in names], glob=False)
        pending = to.with_name(f"{PENDING}{to.name}")
        if to.suffix == ".csv":
            lists = [name for name, dtype in lazy.collect_schema().items() if isinstance(dtype, pl.List)]
            lazy.with_columns(pl.col(lists).list.join(";")).sink_csv(pending, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
        else:
            lazy.sink_parquet(pending, maintain_order=True)
        _into_place(pending, to)
        return int(lazy.select(pl.len()).collect().item())


def _shown(records: pl.DataFrame, output: Output) -> pl.DataFrame:
    names = output.classes or tuple(f"{level:g}" for level in output.levels)
    what = "score" if output.classes else "quantile"
    wide = [pl.col("outputs").list.get(place).alias(f"{what}_{name}") for place, name in enumerate(names)]
    ranked = [name for name in _RANKED if records[name].null_count() < records.height]
    features = [name for name in records.columns if name.startswith(FEATURE_PREFIX)]
    first = [pl.col(name).alias(called) for name, called in _FIRST.items()]
    return records.select(*first, *_KEPT[:3], *wide, *ranked, *_KEPT[3:], *features)


def _into_place(pending: Path, path: Path) -> None:
    with pending.open("rb+") as file:
        os.fsync(file.fileno())
    pending.replace(path)
    sync_folder(path.parent)
