"""Faults, planted from a known row on: what the model is given changes, or what comes true."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from watching.streams import Floats, Stream, log_losses

ROW = "_row"


@dataclass(frozen=True)
class Planted:
    """`frame` with `score` as the model gives it to what arrived; the fault holds from row `first` on.

    `truth` are the columns (or the slice's column) that a right diagnosis names first, `kinds` what it may call it; `cost` is by how much
    the mean loss of the rows since rose.
    """

    kind: str
    frame: pl.DataFrame
    first: int
    truth: tuple[str, ...]
    kinds: tuple[str, ...]
    value: str
    cost: float


Change = tuple[pl.DataFrame, tuple[str, ...], str]


def plant(stream: Stream, kind: str, seed: int) -> Planted:
    """The stream with the fault of `kind` from a row that `seed` chooses; `none` plants nothing."""
    rng = np.random.default_rng([seed, sum(kind.encode())])
    rows = stream.frame.with_row_index(ROW)
    first = int(rng.uniform(0.5, 0.75) * len(rows))
    since = pl.col(ROW) >= first
    clean = stream.model.score(rows)
    changed, truth, value = (rows, (), "") if kind == "none" else FAULTS[kind][0](stream, rows, since, first, rng)
    changed = changed.with_columns(score=stream.model.score(changed))
    later = changed[ROW].to_numpy() >= first
    after = log_losses(changed["score"].to_numpy(), changed["label"].to_numpy())[later].mean()
    before = log_losses(clean, rows["label"].to_numpy())[rows[ROW].to_numpy() >= first].mean()
    kinds = () if kind == "none" else FAULTS[kind][1]
    return Planted(kind, changed.drop(ROW), first, truth, kinds, value, float(after - before))


def _unit_change(stream: Stream, rows: pl.DataFrame, since: pl.Expr, first: int, rng: np.random.Generator) -> Change:
    name = str(rng.choice(stream.numbers))
    factor = float(rng.choice([1.609344, 60.0, 0.001, 100.0, 0.3048]))
    scaled = pl.when(since).then(pl.col(name).cast(pl.Float64) * factor).otherwise(pl.col(name).cast(pl.Float64))
    return rows.with_columns(scaled.alias(name)), (name,), f"{factor:g}"


def _category_split(stream: Stream, rows: pl.DataFrame, since: pl.Expr, first: int, rng: np.random.Generator) -> Change:
    name = stream.slices
    common = rows[name].drop_nulls().value_counts(sort=True)[name].head(4).to_list()
    value = str(rng.choice(common))
    half = pl.Series(rng.random(len(rows)) < rng.uniform(0.4, 1.0))
    renamed = pl.when(since & (pl.col(name) == value) & half).then(pl.lit(f"{value}_2")).otherwise(pl.col(name))
    return rows.with_columns(renamed.alias(name)), (name,), value


def _stale_feed(stream: Stream, rows: pl.DataFrame, since: pl.Expr, first: int, rng: np.random.Generator) -> Change:
    """The feed stops: every row gets the last value that came for its key."""
    last = (
        rows[:first]
        .filter(pl.col(stream.feed[0]).is_not_null())
        .group_by(stream.feed_by)
        .agg(pl.col(stream.feed).last())
    )
    stuck = rows.select(ROW, stream.feed_by).join(last, on=stream.feed_by, how="left", maintain_order="left")
    frozen = [pl.when(since).then(pl.Series(stuck[name])).otherwise(pl.col(name)).alias(name) for name in stream.feed]
    return rows.with_columns(frozen), stream.feed, ""


def _null_leak(stream: Stream, rows: pl.DataFrame, since: pl.Expr, first: int, rng: np.random.Generator) -> Change:
    name = str(rng.choice(stream.numbers))
    lost = pl.Series(rng.random(len(rows)) < rng.uniform(0.15, 0.6))
    return rows.with_columns(pl.when(since & lost).then(None).otherwise(pl.col(name)).alias(name)), (name,), ""


def _concept(stream: Stream, rows: pl.DataFrame, since: pl.Expr, first: int, rng: np.random.Generator) -> Change:
    """In one slice a share of the rows that would have been negative become positive."""
    name = stream.slices
    common = rows[name].drop_nulls().value_counts(sort=True)[name].head(4).to_list()
    value = str(rng.choice(common))
    turned = pl.Series(rng.random(len(rows)) < rng.uniform(0.2, 0.5))
    label = pl.when(since & (pl.col(name) == value) & turned).then(1.0).otherwise(pl.col("label")).alias("label")
    return rows.with_columns(label), (name,), value


def _skewed_join(stream: Stream, rows: pl.DataFrame, since: pl.Expr, first: int, rng: np.random.Generator) -> Change:
    """The feed's values are joined to other rows: each value is a right one, of a wrong row of the same stretch."""
    count = len(rows)
    order = np.arange(count)
    window = max(2000, count // 40)
    for start in range(first, count, window):
        stop = min(start + window, count)
        order[start:stop] = start + rng.permutation(stop - start)
    return rows.with_columns(rows.select(stream.feed)[order]), stream.feed, ""


def _duplicates(stream: Stream, rows: pl.DataFrame, since: pl.Expr, first: int, rng: np.random.Generator) -> Change:
    """A job runs twice: rows of one slice, with their outcomes, come again as new predictions."""
    name = stream.slices
    common = rows[name].drop_nulls().value_counts(sort=True)[name].head(4).to_list()
    value = str(rng.choice(common))
    again = rows.filter(since & (pl.col(name) == value))
    return pl.concat([rows, again, again]).sort("at", maintain_order=True), ("rows",), value


Planter = Callable[[Stream, pl.DataFrame, pl.Expr, int, np.random.Generator], Change]

FAULTS: dict[str, tuple[Planter, tuple[str, ...]]] = {
    "unit_change": (_unit_change, ("unit_change", "out_of_range")),
    "category_split": (_category_split, ("category_split", "category_rename", "unseen_categories")),
    "stale_feed": (_stale_feed, ("stale_feature", "constant")),
    "null_leak": (_null_leak, ("null_rate",)),
    "concept": (_concept, ("concept",)),
    "skewed_join": (_skewed_join, ("skewed_join",)),
    "duplicates": (_duplicates, ("duplicated_rows",)),
}

ISSUE = ("unit_change", "category_split", "stale_feed", "null_leak", "concept")


def losses(planted: Planted) -> Floats:
    """The log loss of each row."""
    return log_losses(planted.frame["score"].to_numpy(), planted.frame["label"].to_numpy())
