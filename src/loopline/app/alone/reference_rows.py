"""The rows of the reference, kept beside a watched model: later runs compare with them, whatever their own files hold."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.app.study.files import Table
from loopline.app.study.rows import Rows
from loopline.app.study.sample import columns_of, spread
from loopline.app.study.texts import Coding, Texts
from loopline.evaluation.kind import as_column, from_column
from loopline.monitoring.tally import Blocks
from loopline.storage.files import write_file

Array = npt.NDArray[Any]

MOST_ROWS = 300_000
_FEATURE = "feature:"
_NUMBERS = ("earlier", "judged", "propensity")
_TEXTS = ("version", "decision", "group")


def keep_reference(
    path: Path, table: Table, features: tuple[str, ...], rows: Rows, reference: Blocks, *, durable: bool
) -> None:
    """Write the rows of the reference's blocks, at most about 300,000 spread evenly over them, without their ids."""
    sample = spread(reference, MOST_ROWS)
    places = sample.rows
    columns = [
        pl.Series("at", rows.taken(rows.at, places)),
        as_column("outputs", rows.taken(rows.outputs, places)),
        pl.Series("label", rows.taken(rows.label, places)),
        *(pl.Series(name, rows.taken(one, places)) for name in _NUMBERS if (one := getattr(rows, name)) is not None),
        *(one.at(places, rows.shelf).alias(name) for name in _TEXTS if (one := getattr(rows, name)) is not None),
        *(column.alias(_FEATURE + column.name) for column in columns_of(table, features, rows, sample)),
    ]
    content = BytesIO()
    pl.DataFrame(columns).write_parquet(content)
    write_file(path, content.getvalue(), durable=durable)


def with_reference(path: Path, rows: Rows, until: int) -> tuple[Rows, int]:
    """The kept rows before those rows that are later than `until` (microseconds); how many were kept.

    `order` counts through the kept rows first, as `table_with_reference` does. Labels of kept rows have no time.
    """
    kept = pl.read_parquet(
        path, columns=[name for name in pl.read_parquet_schema(path) if not name.startswith(_FEATURE)]
    )
    later = int(np.searchsorted(rows.at, until, side="right"))
    count = len(kept)
    numbers: dict[str, Array] = {
        "at": kept["at"].to_numpy(),
        "outputs": from_column(kept["outputs"]),
        "label": kept["label"].to_numpy(),
        "order": np.arange(count),
    }
    for name in _NUMBERS:
        if name in kept.columns or getattr(rows, name) is not None:
            numbers[name] = kept[name].to_numpy() if name in kept.columns else np.full(count, np.nan)

    def pieces() -> Iterator[list[Array]]:
        yield list(numbers.values())
        for part in rows.parts(later):
            size = part.stop - part.start
            own = {name: _own(getattr(rows, name), part) for name in numbers}
            own["order"] = rows.order[part] + count
            yield [np.full(size, np.nan) if one is None else one for one in own.values()]

    both: dict[str, Any] = dict(zip(numbers, rows.shelf.keep(pieces()), strict=True))
    texts: dict[str, Any] = {name: _texts(kept, rows, name, later) for name in _TEXTS}
    return replace(rows, timed=True, label_at=None, **both, **texts), count


def _own(column: Array | None, part: slice) -> Array | None:
    return None if column is None else column[part]


def _texts(kept: pl.DataFrame, rows: Rows, name: str, later: int) -> Texts | None:
    """The texts of the kept rows, and behind them those of the rows from `later` on."""
    own: Texts | None = getattr(rows, name)
    if own is None and name not in kept.columns:
        return None
    before = kept[name] if name in kept.columns else pl.Series([None] * len(kept), dtype=pl.String)
    coding = Coding()
    codes = coding.codes(before)
    # -1 stays -1: it is the last of them.
    own_codes = np.append(coding.codes(own.values), np.int32(-1)) if own is not None else np.full(1, -1, dtype=np.int32)

    def pieces() -> Iterator[list[Array]]:
        yield [codes]
        for part in rows.parts(later):
            given = np.full(part.stop - part.start, -1) if own is None else own.codes[part]
            yield [own_codes[given]]

    [both] = rows.shelf.keep(pieces())
    return coding.texts(name, both)


def table_with_reference(path: Path, table: Table, features: Sequence[str]) -> Table:
    """The features of the kept rows, then those of the table; raises `InvalidInput` where one is not in the table."""
    kept = pl.scan_parquet(path, glob=False).select(pl.col(_FEATURE + name).alias(name) for name in features)
    return table.after(kept, features)
