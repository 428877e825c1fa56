"""A source's frame fitted to its table: cast where nothing is lost, and by the source's rules where its columns changed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import polars as pl

from loopline.errors import InvalidInput
from loopline.tables.casting import cast_each
from loopline.tables.conform import conform, is_safe, kept_as, payload_columns
from loopline.tables.evolution import STRICT, Evolve, Rule, SchemaChange, wider
from loopline.tables.schema import UTC_TIME, TableSchema, refuse_missing, refuse_unknown, wrong_dtype
from loopline.tables.source import SourceSpec

Held = Callable[[str], pl.Series]
"""The distinct values, without null, that the table holds in a column."""

_NOTHING_HELD: Held = lambda _name: pl.Series([], dtype=pl.Null)  # noqa: E731 - a constant of that type


@dataclass(frozen=True)
class Fitted:
    """`rows` in the columns the table is to have, with the tombstone; `reasons` (String, one a row) why a row is to be
    quarantined, else null; `original` the rows as they came, for those; what changed.
    """

    rows: pl.DataFrame
    columns: dict[str, pl.DataType]
    reasons: pl.Series
    original: pl.DataFrame
    changes: list[SchemaChange] = field(default_factory=list)


def fit(frame: pl.DataFrame, spec: SourceSpec, present: TableSchema | None, held: Held = _NOTHING_HELD) -> Fitted:
    """`frame` fitted to the columns that are declared, or that the table has, or, at first, to its own.

    Raises `InvalidInput` (`table.unknown_column`, `table.missing_column`, `table.wrong_dtype`, `table.unsupported_dtype`,
    `table.emptied_column`, `table.new_category`, `ingest.time_without_zone`) for what no rule lets pass.
    """
    rules = spec.evolve or STRICT
    begun = spec.evolve is None or frame.is_empty() or spec.columns is not None or bool(present and present.columns)
    columns = payload_columns(frame, spec, present) if begun else _first_columns(frame, spec)
    if spec.evolve is not None and present is not None:
        columns = {**present.columns, **columns}  # what a declaration says no more the table has all the same
    if frame.is_empty() or not columns:
        return Fitted(conform(frame, columns, spec), columns, pl.Series([], dtype=pl.String), frame)
    return _Fitting(frame, spec, rules, dict(columns), held).fitted(present)


def _first_columns(frame: pl.DataFrame, spec: SourceSpec) -> dict[str, pl.DataType]:
    """The columns of the first rows: those without any value wait until they have one, and times are times."""
    refuse_missing([name for name in (*spec.named_columns, *spec.guarded_columns) if name not in frame.columns])
    times = {spec.event_time: UTC_TIME, spec.known_at: UTC_TIME}
    named = {*spec.named_columns, *spec.guarded_columns}
    kept = [name for name in frame.columns if name != spec.tombstone]
    kept = [name for name in kept if name in named or not isinstance(frame.schema[name], pl.Null)]
    return {name: times.get(name) or kept_as(name, frame.schema[name]) for name in kept}


class _Fitting:
    """One frame on its way: the columns it is to have, the reasons against its rows, and what changed."""

    def __init__(
        self, frame: pl.DataFrame, spec: SourceSpec, rules: Evolve, columns: dict[str, pl.DataType], held: Held
    ) -> None:
        self._frame, self._spec, self._rules, self._columns, self._held = frame, spec, rules, columns, held
        self._reasons = pl.Series("_reason", [None] * frame.height, dtype=pl.String)
        self._changes: list[SchemaChange] = []

    def fitted(self, present: TableSchema | None) -> Fitted:
        before = present.columns if present else {}
        self._add()
        series = {name: self._column(name, dtype, before) for name, dtype in list(self._columns.items())}
        if self._spec.tombstone:
            refuse_missing([self._spec.tombstone] if self._spec.tombstone not in self._frame.columns else [])
            series[self._spec.tombstone] = self._cast(self._spec.tombstone, pl.Boolean())
        for name in before:
            if name in series:
                self._watch_emptied(name)
        for name, listed in self._spec.categories.items():
            self._watch_categories(series[name], listed)
        rows = pl.DataFrame(series)
        return Fitted(rows, self._columns, self._reasons, self._frame, self._changes)

    def _add(self) -> None:
        known = {*self._columns, *([self._spec.tombstone] if self._spec.tombstone else [])}
        added = [name for name in self._frame.columns if name not in known]
        rule = self._rules.added or ("ignore" if self._spec.columns is not None else "accept")
        if rule == "refuse":
            refuse_unknown(set(added), dict.fromkeys(known))
        for name in added:
            found = self._frame.schema[name]
            if isinstance(found, pl.Null):
                continue
            if rule == "accept":
                self._columns[name] = kept_as(name, found)
            self._note(name, "added", None, found, rule, against=self._frame[name].is_not_null())

    def _column(self, name: str, dtype: pl.DataType, before: Mapping[str, pl.DataType]) -> pl.Series:
        gone = pl.Series(name, [None] * self._frame.height, dtype=dtype)
        declared = self._spec.columns is None or name in self._spec.columns
        if not declared and (self._rules.added != "accept" or name not in self._frame.columns):
            return gone  # the table has it from before; the declaration no longer does
        if name in self._frame.columns:
            return self._cast(name, dtype)
        if self._rules.removed == "refuse" or name in {*self._spec.named_columns, *self._spec.guarded_columns}:
            refuse_missing([name])
        everyone = pl.Series([True] * self._frame.height, dtype=pl.Boolean())
        self._note(name, "removed", before.get(name, dtype), None, self._rules.removed, against=everyone)
        return gone

    def _cast(self, name: str, dtype: pl.DataType) -> pl.Series:
        column = self._frame[name]
        found = column.dtype
        if found == dtype or is_safe(found, dtype) or isinstance(found, pl.Datetime):
            return conform(column.to_frame(), {name: dtype}, self._only(name)).to_series()
        if self._rules.retyped == "refuse" and self._rules.widened == "refuse":
            raise wrong_dtype(name, found, dtype)
        cast = cast_each(column, dtype)
        lost = cast.is_null() & column.is_not_null()
        if not lost.any():
            return cast
        return (
            self._widen(column, cast, lost, dtype) if wider(dtype, found) else self._retype(column, cast, lost, dtype)
        )

    def _only(self, name: str) -> SourceSpec:
        return SourceSpec(self._spec.name, name, name, name)

    def _widen(self, column: pl.Series, cast: pl.Series, lost: pl.Series, dtype: pl.DataType) -> pl.Series:
        rule, name, wide = self._rules.widened, column.name, wider(dtype, column.dtype)
        fixed = name in self._spec.key_columns or self._spec.columns is not None
        if rule == "accept" and not fixed and wide is not None:
            whole = cast_each(column, wide)
            if not (whole.is_null() & column.is_not_null()).any():
                self._columns[name] = wide
                self._note(name, "widened", dtype, wide, rule)
                return whole
        if rule == "accept":
            return self._retype(column, cast, lost, dtype)
        if rule == "refuse":
            raise wrong_dtype(name, column.dtype, dtype)
        self._note(name, "widened", dtype, column.dtype, rule, against=lost)
        return cast

    def _retype(self, column: pl.Series, cast: pl.Series, lost: pl.Series, dtype: pl.DataType) -> pl.Series:
        if self._rules.retyped == "refuse":
            raise wrong_dtype(column.name, column.dtype, dtype)
        self._note(column.name, "retyped", dtype, column.dtype, self._rules.retyped, against=lost)
        return cast

    def _watch_emptied(self, name: str) -> None:
        column = self._frame.get_column(name, default=None)
        rule = self._rules.emptied
        if column is None or rule == "accept" or not column.is_null().all() or not len(self._held(name)):
            return
        if rule == "refuse":
            raise InvalidInput(
                "table.emptied_column",
                f"column {name!r} had values and is null in every row",
                remedy='Mend the source, or declare evolve(emptied="accept").',
                column=name,
            )
        self._note(name, "emptied", str(self._columns[name]), None, rule, against=column.is_null())

    def _watch_categories(self, column: pl.Series, listed: tuple[str, ...] | None) -> None:
        known = self._held(column.name) if listed is None else pl.Series(listed, dtype=pl.String)
        if listed is None and not len(known):
            return
        strange = column.is_not_null() & ~column.is_in(known.cast(pl.String).implode())
        if not strange.any():
            return
        found = sorted(column.filter(strange).unique())[:10]
        rule: Rule = self._rules.categories
        if rule == "refuse":
            raise InvalidInput(
                "table.new_category",
                f"column {column.name!r} has new values: {', '.join(found)}",
                remedy='List them in pl.Enum([...]), or declare evolve(categories="accept").',
                column=column.name,
            )
        self._note(column.name, "categories", None, ", ".join(found), rule, against=strange)

    def _note(
        self,
        name: str,
        kind: str,
        before: object,
        after: object,
        rule: str,
        *,
        against: pl.Series | None = None,
    ) -> None:
        """Record a change; by the rule "quarantine" the rows it is held `against` get the reason, unless they have one."""
        refused = against.fill_null(value=False) if rule == "quarantine" and against is not None else None
        if refused is not None:
            reason = pl.Series([f"{_REASONS[kind]}:{name}"] * self._frame.height, dtype=pl.String)
            self._reasons = self._reasons.zip_with(~refused | self._reasons.is_not_null(), reason)
        count = int(refused.sum()) if refused is not None else 0
        told = [None if value is None else str(value) for value in (before, after)]
        self._changes.append(SchemaChange(name, kind, told[0], told[1], rule, count))


_REASONS = {
    "added": "added_column",
    "removed": "removed_column",
    "widened": "too_wide",
    "retyped": "wrong_type",
    "emptied": "emptied_column",
    "categories": "new_category",
}
