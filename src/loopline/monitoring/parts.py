"""Blocks of what is not the loss of all rows: rates, the loss of one group, the loss above another model's."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput
from loopline.evaluation.kind import Output, from_column
from loopline.evaluation.losses import named
from loopline.monitoring.block import BlockSummary, blocks_of, versions_of
from loopline.monitoring.change import LATENCY, ROWS, SHARES, Change
from loopline.monitoring.custom import Custom
from loopline.monitoring.kinds import Rate
from loopline.values import MICROSECOND, duration, from_micros, micros

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def rate_blocks(predictions: pl.DataFrame, rate: Rate, models: tuple[int, ...] = (0,)) -> list[BlockSummary]:
    """Blocks of `rate` from rows of the prediction table, with `at`: every row counts, from 0 to `rate.most`.

    Versions in `models` are no model's, but a fallback's.
    """
    counted = np.clip(counts_of(predictions, rate, models), 0.0, rate.most)
    return [
        _block(start, end, part, rows=len(part), loss=float(counted[part["_row"].to_numpy()].sum()))
        for start, end, part in _cut(predictions, rate.block)
    ]


def counts_of(predictions: pl.DataFrame, rate: Rate, models: tuple[int, ...] = (0,)) -> Floats:
    """What each row counts (rows,): 1 where it is so and 0 where not, or the figure itself where a mean is watched.

    Raises `InvalidInput` for a code that no prediction can have.
    """
    if rate.of == LATENCY:
        took = predictions[LATENCY].fill_null(0.0)
        return took.to_numpy() if rate.above is None else (took > rate.above).cast(pl.Float64).to_numpy()
    marks = {
        "fallback": pl.col("model_version").is_in(models),
        "unanswered": pl.col("score").is_null() | pl.col("score").is_nan(),
        "abstained": pl.col("decision") == "abstain",
        "degraded": pl.col("degraded").list.len() > 0,
    }
    if rate.of in marks:
        so = marks[rate.of]
    elif rate.of.split(":", 1)[0].isidentifier():
        code = pl.element() == rate.of
        so = pl.col("degraded").list.eval(code | pl.element().str.starts_with(f"{rate.of}:")).list.any()
    else:
        raise InvalidInput(
            "monitor.rate_code", f"{rate.of!r} is no code of a prediction", remedy='Use e.g. "degraded".'
        )
    return predictions.select(so.fill_null(value=False).cast(pl.Float64)).to_series().to_numpy()


def change_blocks(rows: pl.DataFrame, change: Change, after: datetime, until: datetime) -> list[BlockSummary]:
    """Blocks of the figure of `change` in (after, until], from rows of the prediction table with `at` and features by name.

    Of how many rows there are, blocks without any count, too. Raises `InvalidInput` for a mean of what is no number.
    """
    if change.of == ROWS:
        return _sizes(rows, change.block, after, until)
    counted = _counted(rows, change)
    found = []
    for start, end, part in _cut(rows, change.block):
        known = counted[part["_row"].to_numpy()]
        known = known[np.isfinite(known)]
        found.append(_block(start, end, part, rows=len(known), loss=float(known.sum())))
    return found


def _counted(rows: pl.DataFrame, change: Change) -> Floats:
    """What each row counts (rows,), NaN for one that counts nothing."""
    name, value = change.asked
    if value:
        return _is(rows[name], value).astype(np.float64)
    if name in SHARES:
        return counts_of(rows, Rate(name, at_most=0.5))
    if name not in rows.columns:
        return np.full(rows.height, np.nan)
    if not (rows[name].dtype.is_numeric() or rows[name].dtype == pl.Boolean):
        raise InvalidInput(
            "monitor.no_number",
            f"{name!r} has no mean: it holds {rows[name].dtype}",
            remedy=f'Watch a share: ll.Change("{name}=...").',
        )
    return rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _sizes(rows: pl.DataFrame, block: str, after: datetime, until: datetime) -> list[BlockSummary]:
    parts = {end: part for _, end, part in _cut(rows, block)}
    length, nothing = duration(block) // MICROSECOND, rows.clear()
    ends = range(micros(after) + length, micros(until) + 1, length)
    return [
        _block(end - length, end, parts.get(end, nothing), rows=1, loss=float(parts.get(end, nothing).height))
        for end in ends
    ]


def custom_blocks(rows: pl.DataFrame, custom: Custom, memory: Any) -> list[BlockSummary]:
    """Blocks of a custom monitor's figure from rows with `at` in the order of time, each with what is remembered after it.

    Raises `InvalidInput` as `Custom.counts`.
    """
    found = []
    for start, end, part in _cut(rows, custom.block):
        given = part.drop("_row", "_end")
        counted, memory = custom.counts(given, memory)
        known = counted[~np.isnan(counted)]
        made = _block(start, end, part, rows=len(known), loss=float(known.sum()))
        found.append(made.remembering(memory))
    return found


def group_blocks(rows: pl.DataFrame, by: str, value: str, loss: str, block: str, output: Output) -> list[BlockSummary]:
    """Blocks of the loss of the rows where `by` is `value`, with the mean loss of all labelled rows of the block as their baseline.

    `rows` are as `cut` takes them, with the column `by`. A loss of groups, whose rows are lists, is judged by the list's first row.
    """
    losses, inside = _losses(rows, output.column, loss, output), _is(rows[by], value)
    found = []
    for start, end, part in _cut(rows, block):
        place = part["_row"].to_numpy()
        known = ~np.isnan(losses[place])
        mine = place[known & inside[place]]
        usual = float(losses[place[known]].mean()) if known.any() else 0.0
        found.append(
            _block(
                start,
                end,
                part,
                rows=len(mine),
                loss=float(losses[mine].sum()),
                baseline=usual * len(mine),
                predictions=int(inside[place].sum()),
            )
        )
    return found


def paired_blocks(rows: pl.DataFrame, loss: str, block: str, output: Output) -> list[BlockSummary]:
    """Blocks of the loss of the outputs with that of `other`, another model's on the same rows, as their baseline.

    Only rows count that both have answered.
    """
    own = _losses(rows, output.column, loss, output)
    other = _losses(rows, "other", loss, output)
    found = []
    for start, end, part in _cut(rows, block):
        place = part["_row"].to_numpy()
        both = place[~np.isnan(own[place]) & ~np.isnan(other[place])]
        found.append(
            _block(start, end, part, rows=len(both), loss=float(own[both].sum()), baseline=float(other[both].sum()))
        )
    return found


def values_of(column: pl.Series) -> list[str]:
    """The different values of a column as text, most frequent first."""
    counts = column.drop_nulls().cast(pl.String).value_counts(sort=True, name="_rows")
    return counts.sort("_rows", column.name, descending=[True, False])[column.name].to_list()


def _is(column: pl.Series, value: str) -> Mask:
    return (column.cast(pl.String) == value).fill_null(value=False).to_numpy()


def _losses(rows: pl.DataFrame, column: str, loss: str, output: Output) -> Floats:
    labels = rows["label"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    groups = rows["group"].to_numpy() if "group" in rows.columns else None
    return named(loss, output).rows(output.shaped(from_column(rows[column])), labels, groups)


def _cut(rows: pl.DataFrame, block: str) -> Iterator[tuple[int, int, pl.DataFrame]]:
    """As `blocks_of`, with each row's place `_row`."""
    return blocks_of(rows.with_row_index("_row"), block)


def _block(
    start: int,
    end: int,
    part: pl.DataFrame,
    *,
    rows: int,
    loss: float,
    baseline: float | None = None,
    predictions: int | None = None,
) -> BlockSummary:
    return BlockSummary(
        start=from_micros(start),
        end=from_micros(end),
        predictions=part.height if predictions is None else predictions,
        labelled=rows,
        positives=0.0,
        expected=0.0,
        loss=loss,
        baseline=baseline,
        model_version=versions_of(part),
    )
