"""One window of a source's rows into its table and its quarantine, exactly once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from loopline.tables import quarantine
from loopline.tables.checks import REASON, Checked, check
from loopline.tables.conform import conform, payload_columns
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
    left out because an identical one came with them. `erased` rows were left out because their persons were erased.
    """

    table: str
    version: int
    rows: int
    quarantined: int = 0
    collapsed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    erased: int = 0


def ingest(
    tables: Tables,
    spec: SourceSpec,
    frame: pl.DataFrame,
    window: Window,
    *,
    provenance: Mapping[str, Any] | None = None,
) -> Ingested:
    """Check `frame`, the rows that became known in `window`, and append the good ones to the table `spec.name`, the bad ones to
    its quarantine.

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
    columns = payload_columns(frame, spec, present)
    schema = _schema(columns, spec, present)
    checked = check(conform(frame, columns, spec), spec, window) if columns else None
    table = tables.create(spec.name, schema)
    table.refuse_passed(WRITER, micros(window.end))
    with table.held():
        taken, erased = (None, 0) if checked is None else _without_erased(table, checked)
        if taken is not None and taken.bad.height:
            _quarantine(tables, spec, taken, window)
        told = {**_told(spec, taken, window), **({"erased": erased} if erased else {})}
        # The good rows come last: once they are committed, the window is done.
        version = table.append(
            schema.empty() if taken is None else taken.good,
            writer=WRITER,
            sequence=micros(window.end),
            provenance={**(provenance or {}), **told},
        )
    return _ingested(spec, version)


def rehearse(tables: Tables | None, spec: SourceSpec, frame: pl.DataFrame, window: Window) -> Checked:
    """What `ingest` would keep and what it would quarantine; nothing is written. Raises as `ingest` does."""
    known = tables is not None and tables.exists(spec.name)
    present = tables.open(spec.name).schema if tables is not None and known else None
    columns = payload_columns(frame, spec, present)
    if not columns:
        return Checked(
            TableSchema().empty(), TableSchema().empty().with_columns(pl.lit(None, pl.String).alias(REASON)), 0
        )
    return check(conform(frame, columns, spec), spec, window)


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
    return (Checked(good, bad, checked.collapsed), dropped) if dropped else (checked, 0)


def _schema(columns: Mapping[str, pl.DataType], spec: SourceSpec, present: TableSchema | None) -> TableSchema:
    before = present or TableSchema()
    tagged = (*spec.personal, *before.personal)
    personal = tuple(name for name in tagged if name in columns or name == "_key")
    subject = spec.subject if spec.subject in columns else None
    return TableSchema(columns, personal, subject or before.subject, before.keys_of)


def _quarantine(tables: Tables, spec: SourceSpec, checked: Checked, window: Window) -> None:
    table = tables.create(spec.name + quarantine.SUFFIX, quarantine.schema(personal=bool(spec.guarded_columns)))
    rows = quarantine.quarantined_rows(checked.bad, window)
    table.append(rows, writer=WRITER, sequence=micros(window.end), provenance=_told(spec, checked, window))


def _told(spec: SourceSpec, checked: Checked | None, window: Window) -> dict[str, Any]:
    return {
        "source": spec.name,
        "window_start": window.start,
        "window_end": window.end,
        "rows": checked.good.height if checked else 0,
        "quarantined": checked.bad.height if checked else 0,
        "collapsed": checked.collapsed if checked else 0,
        "reasons": checked.reasons() if checked else {},
    }


def _ingested(spec: SourceSpec, version: TableVersion) -> Ingested:
    told = version.provenance
    return Ingested(
        spec.name,
        version.version,
        told["rows"],
        told["quarantined"],
        told["collapsed"],
        dict(told["reasons"]),
        told.get("erased", 0),
    )
