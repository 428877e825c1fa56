"""One window of a source's rows into its table and its quarantine, exactly once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from loopline.tables import quarantine
from loopline.tables.checks import REASON, Checked, check
from loopline.tables.dedupe import without_unchanged
from loopline.tables.evolution import SchemaChange, wider
from loopline.tables.fitting import Fitted, Held, fit
from loopline.tables.log import TableVersion
from loopline.tables.schema import TableSchema
from loopline.tables.source import SourceSpec
from loopline.tables.table import Table
from loopline.tables.tables import Tables
from loopline.values import Window, micros

WRITER = "ingest"


@dataclass(frozen=True)
class Ingested:
    """What became of a window: `rows` in the table's `version`, `quarantined` rows by `reasons`, and `collapsed` rows that were
    left out because an identical one came with them. `superseded` rows lost against another of their key and known time,
    `unchanged` ones said what was known; both by the source's rules. `changes` are those of its columns. `erased` rows were left
    out because their persons were erased.
    """

    table: str
    version: int
    rows: int
    quarantined: int = 0
    collapsed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    superseded: int = 0
    unchanged: int = 0
    changes: list[SchemaChange] = field(default_factory=list)
    erased: int = 0


def ingest(
    tables: Tables,
    spec: SourceSpec,
    frame: pl.DataFrame,
    window: Window,
    *,
    provenance: Mapping[str, Any] | None = None,
    reasons: pl.Series | None = None,
) -> Ingested:
    """Check `frame`, the rows that became known in `window`, and append the good ones to the table `spec.name`, the bad ones to
    its quarantine. `reasons` (String, one for each row of `frame`) are further ones to quarantine a row, null for none.

    A window is ingested once: again, after a crash at any point or by another process, gives the same `Ingested` and changes
    nothing. Windows of one source come in the order of their ends. No rows are fine, and are recorded. The version's provenance
    is `provenance` (say the code's digest and the inputs) with `source`, `window_start`, `window_end`, `rows`, `quarantined`,
    `collapsed` and `reasons`.

    Raises `InvalidInput` for the whole frame, and changes nothing, where columns are unknown, missing, of another dtype
    (`table.unknown_column`, `table.missing_column`, `table.wrong_dtype`, `table.unsupported_dtype`, `source.bad_key`) or hold
    times without a zone (`ingest.time_without_zone`); `Conflict` (`table.schema_changed`, `table.sequence_passed`).
    """
    if (done := ingested(tables, spec, window)) is not None:
        return done
    present = tables.open(spec.name).schema if tables.exists(spec.name) else None
    fitted = fit(frame, spec, present, _held(tables, spec))
    schema = _schema(fitted.columns, spec, present)
    checked = _checked(tables, spec, fitted, window, reasons)
    if present is not None:
        _widen(tables, spec, present, fitted)
    table = tables.create(spec.name, schema)
    table.refuse_passed(WRITER, micros(window.end))
    with table.held():
        taken, erased = (None, 0) if checked is None else _without_erased(table, checked)
        if taken is not None and taken.bad.height:
            _quarantine(tables, spec, taken, fitted, window)
        told = {**_told(spec, taken, fitted, window), **({"erased": erased} if erased else {})}
        # The good rows come last: once they are committed, the window is done.
        version = table.append(
            schema.empty() if taken is None else taken.good,
            writer=WRITER,
            sequence=micros(window.end),
            provenance={**(provenance or {}), **told},
        )
    return _ingested(spec, version)


def rehearse(
    tables: Tables | None, spec: SourceSpec, frame: pl.DataFrame, window: Window, *, reasons: pl.Series | None = None
) -> Checked:
    """What `ingest` would keep and what it would quarantine; nothing is written. Raises as `ingest` does."""
    known = tables is not None and tables.exists(spec.name)
    present = tables.open(spec.name).schema if tables is not None and known else None
    fitted = fit(frame, spec, present, _held(tables, spec) if tables is not None and known else _held(None, spec))
    found = _checked(tables, spec, fitted, window, reasons)
    nothing = TableSchema().empty()
    return found or Checked(nothing, nothing.with_columns(pl.lit(None, pl.String).alias(REASON)), 0)


def _held(tables: Tables | None, spec: SourceSpec) -> Held:
    def values(name: str) -> pl.Series:
        table = tables.open(spec.name) if tables is not None and tables.exists(spec.name) else None
        if table is None or name not in table.schema.columns:
            return pl.Series(name, [], dtype=pl.String)
        return table.read(columns=[name])[name].drop_nulls().unique()

    return values


def _checked(
    tables: Tables | None, spec: SourceSpec, fitted: Fitted, window: Window, reasons: pl.Series | None
) -> Checked | None:
    if not fitted.columns:
        return None
    given = fitted.reasons if reasons is None else fitted.reasons.zip_with(fitted.reasons.is_not_null(), reasons)
    found = check(fitted.rows, spec, window, reasons=given)
    known = tables is not None and tables.exists(spec.name) and bool(tables.open(spec.name).schema.columns)
    if spec.dedupe.unchanged == "keep":
        return found
    current = found.good.clear()
    if tables is not None and known:
        keys = pl.col("_key").is_in(found.good["_key"].implode())
        current = tables.open(spec.name).read(known_until=window.start, where=keys).select(found.good.columns)
        current = current.sort("_known_at", maintain_order=True).unique("_key", keep="last", maintain_order=True)
    news = without_unchanged(found.good, current, (spec.known_at, spec.event_time))
    return replace(found, good=news, unchanged=found.good.height - news.height)


def _widen(tables: Tables, spec: SourceSpec, present: TableSchema, fitted: Fitted) -> None:
    """Columns that the rows, or a changed declaration, give more room; any other change of a dtype is refused by `create`."""
    wide = {
        name: dtype
        for name, dtype in fitted.columns.items()
        if name in present.columns and present.columns[name] != dtype and wider(present.columns[name], dtype) == dtype
    }
    if wide and spec.evolve is not None and spec.evolve.widened == "accept":
        tables.open(spec.name).widen(wide)


def ingested(tables: Tables, spec: SourceSpec, window: Window) -> Ingested | None:
    """What became of `window`, or None if it is not ingested: then the source has to be asked."""
    if not tables.exists(spec.name):
        return None
    version = tables.open(spec.name).find(WRITER, micros(window.end))
    return None if version is None else _ingested(spec, version)


def _without_erased(table: Table, checked: Checked) -> tuple[Checked, int]:
    """What was checked without the rows of erased persons, and how many those were: they come to no quarantine either."""
    good, bad = table.without_erased(checked.good), table.without_erased(checked.bad)
    dropped = checked.good.height - good.height + checked.bad.height - bad.height
    return (replace(checked, good=good, bad=bad), dropped) if dropped else (checked, 0)


def _schema(columns: Mapping[str, pl.DataType], spec: SourceSpec, present: TableSchema | None) -> TableSchema:
    before = present or TableSchema()
    tagged = (*spec.personal, *before.personal)
    personal = tuple(name for name in tagged if name in columns or name == "_key")
    subject = spec.subject if spec.subject in columns else None
    return TableSchema(columns, personal, subject or before.subject, before.keys_of)


def _quarantine(tables: Tables, spec: SourceSpec, checked: Checked, fitted: Fitted, window: Window) -> None:
    table = tables.create(spec.name + quarantine.SUFFIX, quarantine.schema(personal=bool(spec.guarded_columns)))
    rows = quarantine.quarantined_rows(checked.bad, fitted.original, window)
    table.append(rows, writer=WRITER, sequence=micros(window.end), provenance=_told(spec, checked, fitted, window))


def _told(spec: SourceSpec, checked: Checked | None, fitted: Fitted, window: Window) -> dict[str, Any]:
    told: dict[str, Any] = {
        "source": spec.name,
        "window_start": window.start,
        "window_end": window.end,
        "rows": checked.good.height if checked else 0,
        "quarantined": checked.bad.height if checked else 0,
        "collapsed": checked.collapsed if checked else 0,
        "reasons": checked.reasons() if checked else {},
    }
    further = {"superseded": checked.superseded, "unchanged": checked.unchanged} if checked else {}
    changes = [change.plain() for change in fitted.changes]
    return told | {name: count for name, count in further.items() if count} | ({"changes": changes} if changes else {})


def _ingested(spec: SourceSpec, version: TableVersion) -> Ingested:
    told = version.provenance
    return Ingested(
        spec.name,
        version.version,
        told["rows"],
        told["quarantined"],
        told["collapsed"],
        dict(told["reasons"]),
        told.get("superseded", 0),
        told.get("unchanged", 0),
        [SchemaChange(**change) for change in told.get("changes", [])],
        told.get("erased", 0),
    )
