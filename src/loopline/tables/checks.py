"""Good rows from bad ones, with one reason for each bad row."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from loopline.errors import InvalidInput
from loopline.tables.expectations import broken_rule, first_reason
from loopline.tables.schema import SYSTEM_COLUMNS, UTC_TIME, wrong_dtype
from loopline.tables.source import RowRules, SourceSpec, key_text
from loopline.values import Window

REASON = "_reason"
PLACE = "_place"
_KEYS = (pl.String, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Boolean, pl.Date, pl.Datetime)


@dataclass(frozen=True)
class Checked:
    """`good` rows; `bad` rows with the further column `_reason`; both with the system columns. `collapsed` counts the rows that
    were left out because an identical one stands in `good`, `superseded` those that another of the same key and known time
    was preferred to, `unchanged` those
    that say what is known.
    """

    good: pl.DataFrame
    bad: pl.DataFrame
    collapsed: int
    superseded: int = 0
    unchanged: int = 0

    def reasons(self) -> dict[str, int]:
        """How many bad rows each reason has, sorted by name."""
        counted = self.bad.group_by(REASON).len().sort(REASON)
        return dict(counted.iter_rows())


def check(rows: pl.DataFrame, spec: SourceSpec, window: Window, *, reasons: pl.Series | None = None) -> Checked:
    """Split `rows` (the source's columns, conformed) into good and bad ones. `bad` has the further column `_place`, the row's
    place in `rows`.

    A row gets the first reason that applies: the one it has in `reasons` (String, one a row), `null_key`, `null_time`, `known_in_future` (after the window), `known_before_window`
    (at its start or earlier), `not_finite` (a NaN or infinity in a float column), the name of the expectation that it fails, or
    `duplicate_key` (another row of the same key and known time says something else: none of them is kept, unless the source's rule prefers the
    first or the last). An event time after
    the known time is fine: schedules are known ahead.

    Raises `InvalidInput` (`table.wrong_dtype`, `source.bad_key`, `source.bad_expectation`).
    """
    system = _with_system_columns(rows, spec)
    given = pl.Series([None] * rows.height, dtype=pl.String) if reasons is None else reasons
    marked = system.with_columns(pl.coalesce(given, *_reasons(system, window), pl.lit(None, pl.String)).alias(REASON))
    if spec.rows is not None:
        marked = _expect(marked, spec.name, spec.rows)
    placed = marked.with_row_index(PLACE)
    passed = placed.filter(pl.col(REASON).is_null()).drop(REASON)
    distinct = passed.unique(marked.drop(REASON).columns, keep="first", maintain_order=True)
    kept, contradicting = _resolved(distinct, spec)
    bad = [placed.filter(pl.col(REASON).is_not_null()), contradicting.with_columns(_reason("duplicate_key"))]
    superseded = distinct.height - kept.height - contradicting.height
    bad_rows = pl.concat(bad, how="diagonal")
    return Checked(kept.drop(PLACE), bad_rows, passed.height - distinct.height, superseded)


def _resolved(distinct: pl.DataFrame, spec: SourceSpec) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows to keep, and those that contradict each other, by the source's rule for conflicts."""
    rule = spec.dedupe.conflicts
    if rule == "quarantine":
        contradicting = pl.struct("_key", "_known_at").is_duplicated()
        return distinct.filter(~contradicting), distinct.filter(contradicting)
    return distinct.unique(["_key", "_known_at"], keep=rule, maintain_order=True), distinct.clear()


def _with_system_columns(rows: pl.DataFrame, spec: SourceSpec) -> pl.DataFrame:
    for name in (spec.event_time, spec.known_at):
        if rows.schema[name] != UTC_TIME:
            raise wrong_dtype(name, rows.schema[name], UTC_TIME)
    for name in spec.key_columns:
        if not isinstance(rows.schema[name], _KEYS):
            raise InvalidInput(
                "source.bad_key",
                f"column {name!r} is {rows.schema[name]}, which cannot be a key",
                remedy="Keys are text, whole numbers, booleans, dates or times. Cast it to String.",
                column=name,
            )
    tombstone = pl.col(spec.tombstone).fill_null(value=False) if spec.tombstone else pl.lit(value=False)
    return rows.select(
        key_text(spec.key_columns),
        pl.col(spec.event_time).alias("_event_time"),
        pl.col(spec.known_at).alias("_known_at"),
        tombstone.alias("_tombstone"),
        *(name for name in rows.columns if name != spec.tombstone),
    )


def _reasons(rows: pl.DataFrame, window: Window) -> Iterator[pl.Expr]:
    yield first_reason(pl.col("_key").is_null(), "null_key")
    yield first_reason(pl.col("_event_time").is_null() | pl.col("_known_at").is_null(), "null_time")
    yield first_reason(pl.col("_known_at") > window.end, "known_in_future")
    yield first_reason(pl.col("_known_at") <= window.start, "known_before_window")
    if floats := [name for name, dtype in rows.schema.items() if dtype.is_float()]:
        yield first_reason(~pl.all_horizontal(pl.col(floats).is_finite().fill_null(value=True)), "not_finite")


def _expect(marked: pl.DataFrame, source: str, rules: RowRules) -> pl.DataFrame:
    numbered = marked.with_row_index("_row")
    open_ = numbered.filter(pl.col(REASON).is_null() & ~pl.col("_tombstone"))
    if open_.is_empty():
        return marked
    payload = open_.select(name for name in marked.columns if name not in (*SYSTEM_COLUMNS, REASON))
    broken = open_.select("_row", broken_rule(source, payload, rules).alias("_broken"))
    joined = numbered.join(broken, on="_row", how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce(REASON, "_broken").alias(REASON)).drop("_row", "_broken")


def _reason(name: str) -> pl.Expr:
    return pl.lit(name).alias(REASON)
