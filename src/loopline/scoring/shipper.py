"""Ships sealed spool segments into the prediction tables, each exactly once.

A segment's number is the sequence of its append, the spool's id the writer: a table that has the segment takes it no second
time. The segment is deleted once every table's commit is durable, so being killed anywhere and run again loses and doubles
nothing.
"""

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import polars as pl
import structlog

from loopline.errors import Conflict, Corrupt
from loopline.scoring.block import Block, decode
from loopline.scoring.block_frame import frames_by_maker, in_order
from loopline.scoring.feature_columns import filed
from loopline.scoring.record import prediction_table
from loopline.scoring.segment import read_segment
from loopline.scoring.spool_folder import CORRUPT, SEALED, SpoolFolder, SpoolState
from loopline.tables.schema import SYSTEM_COLUMNS, TableSchema
from loopline.tables.table import Table
from loopline.tables.tables import Tables

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Shipped:
    """How many segments went to their tables, with how many rows, and how many were found damaged and set aside."""

    segments: int = 0
    rows: int = 0
    damaged: int = 0

    def __add__(self, other: "Shipped") -> "Shipped":
        return Shipped(self.segments + other.segments, self.rows + other.rows, self.damaged + other.damaged)


def ship_all(root: Path, tables: Tables) -> Shipped:
    """`ship` for every spool under `root`; one that another process is shipping at this moment is left to it."""
    shipped = Shipped()
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        with suppress(Conflict):
            shipped += ship(folder, tables)
    return shipped


def ask_to_seal(root: Path) -> None:
    """Have the processes that own the spools under `root` seal what they hold soon, so that it can be shipped."""
    for folder in root.glob("*"):
        if (folder / "spool.json").exists():
            SpoolFolder(folder).ask_to_seal()


def ship(folder: Path, tables: Tables) -> Shipped:
    """Append every sealed segment of the spool in `folder` to its prediction tables, then delete it.

    Makes tables that are not there yet, and adds columns for features that are new. Where no process owns the spool any
    more, what it left open is shipped too. A damaged segment is kept with the suffix `.corrupt` and told in the log.

    A feature that is of another kind than before gets a column of its own: see `feature_columns`.

    Raises `Conflict` "spool.in_use" where another process is shipping it; the segment stays.
    """
    spool = SpoolFolder(folder)
    with closing(spool.shipper_lock()):
        state = spool.state()
        if state is None:
            return Shipped()
        _recover_unowned(spool)
        shipped = Shipped()
        for number in spool.numbers(SEALED):
            shipped += _ship_segment(spool, state, number, tables)
        return shipped


def _recover_unowned(spool: SpoolFolder) -> None:
    with suppress(Conflict), closing(spool.writer_lock()):
        spool.recover(fsync=False)


def _ship_segment(spool: SpoolFolder, state: SpoolState, number: int, tables: Tables) -> Shipped:
    path = spool.segment(number, SEALED)
    try:
        blocks = [decode(payload) for payload in read_segment(path)]
    except (Corrupt, msgspec.DecodeError) as error:
        path.rename(spool.segment(number, CORRUPT))
        _log.error("damaged spool segment set aside", folder=str(spool.path), segment=number, error=str(error))
        return Shipped(damaged=1)
    for name, group in sorted(_by_table(blocks).items()):
        _append(tables, name, group, writer=f"spool:{state.id}", segment=number)
    spool.keep(SpoolState(id=state.id, shipped=number))
    path.unlink()
    return Shipped(1, sum(map(len, blocks)))


def _by_table(blocks: Sequence[Block]) -> dict[str, list[Block]]:
    tables: dict[bytes, str] = {}
    found: dict[str, list[Block]] = {}
    for block in blocks:
        table = tables.get(block.made_by)
        if table is None:
            maker = block.maker
            table = tables[block.made_by] = prediction_table(maker.project, maker.model, shadow=maker.shadow)
        found.setdefault(table, []).append(block)
    return found


def _append(tables: Tables, name: str, blocks: Sequence[Block], *, writer: str, segment: int) -> None:
    frame = _frame(tables, name, blocks)
    table = _table(tables, name, frame)
    absent = [
        pl.lit(None, dtype=dtype).alias(column)
        for column, dtype in table.schema.columns.items()
        if column not in frame.columns
    ]
    provenance = {"source": "spool", "spool": writer, "segment": segment, "rows": frame.height}
    table.append(frame.with_columns(absent), writer=writer, sequence=segment, provenance=provenance)


def _frame(tables: Tables, name: str, blocks: Sequence[Block]) -> pl.DataFrame:
    """The predictions in their order, each feature in the column of its kind: a segment may hold those of several versions."""
    held = dict(tables.open(name).schema.columns) if tables.exists(name) else {}
    parts = []
    for frame in frames_by_maker(blocks):
        part = filed(frame, held)
        held |= {column: dtype for column, dtype in part.schema.items() if column not in held}
        parts.append(part)
    return parts[0] if len(parts) == 1 else in_order(parts, blocks)


def _table(tables: Tables, name: str, frame: pl.DataFrame) -> Table:
    wanted = {column: dtype for column, dtype in frame.schema.items() if column not in SYSTEM_COLUMNS}
    if not tables.exists(name):
        return tables.create(name, TableSchema(wanted))
    table = tables.open(name)
    present = table.schema
    if wanted.keys() <= present.columns.keys():
        return table
    return tables.create(name, present.widened(wanted))
