"""The rows of the reference, kept beside a watched model: later runs compare with them, whatever their own files hold."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl

from loopline.app.study.files import Table
from loopline.app.study.rows import Rows
from loopline.app.study.sample import columns_of, spread
from loopline.evaluation.kind import as_column, from_column
from loopline.monitoring.tally import Blocks
from loopline.storage.files import write_file

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
        pl.Series("at", rows.at[places]),
        as_column("outputs", rows.outputs[places]),
        pl.Series("label", rows.label[places]),
        *(pl.Series(name, column[places]) for name in _NUMBERS if (column := getattr(rows, name)) is not None),
        *(column.gather(places).alias(name) for name in _TEXTS if (column := getattr(rows, name)) is not None),
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
    later = rows.at > until
    count = len(kept)
    at, label = kept["at"].to_numpy(), kept["label"].to_numpy()

    def text(name: str) -> pl.Series | None:
        own: pl.Series | None = getattr(rows, name)
        if own is None and name not in kept.columns:
            return None
        before = kept[name] if name in kept.columns else pl.Series([None] * count, dtype=pl.String)
        after = pl.Series([None] * int(later.sum()), dtype=pl.String) if own is None else own.filter(pl.Series(later))
        return pl.concat([before, after.alias(before.name)])

    def number(name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]] | None:
        own = getattr(rows, name)
        if own is None and name not in kept.columns:
            return None
        before = kept[name].to_numpy() if name in kept.columns else np.full(count, np.nan)
        return np.concatenate([before, own[later] if own is not None else np.full(int(later.sum()), np.nan)])

    return Rows(
        kind=rows.kind,
        at=np.concatenate([at, rows.at[later]]),
        timed=True,
        outputs=np.concatenate([from_column(kept["outputs"]), rows.outputs[later]]),
        label=np.concatenate([label, rows.label[later]]),
        order=np.concatenate([np.arange(count), count + rows.order[later]]),
        label_at=None,
        version=text("version"),
        decision=text("decision"),
        earlier=number("earlier"),
        group=text("group"),
        classes=rows.classes,
        levels=rows.levels,
        hard=rows.hard,
        notices=rows.notices,
        judged=number("judged"),
        propensity=number("propensity"),
    ), count


def table_with_reference(path: Path, table: Table, features: Sequence[str]) -> Table:
    """The features of the kept rows, then those of the table; raises `InvalidInput` where one is not in the table."""
    kept = pl.scan_parquet(path, glob=False).select(pl.col(_FEATURE + name).alias(name) for name in features)
    return table.after(kept, features)
