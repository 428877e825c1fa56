"""SQL: any database that SQLAlchemy can reach, and DuckDB over files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from loopline.errors import InvalidInput
from loopline.sources.columns import column_of
from loopline.sources.reader import Terms, settled
from loopline.sources.times import check_zone
from loopline.storage import foreign
from loopline.values import EPOCH, Window

_WINDOW = ("start", "end")
_TEXT = "%Y-%m-%d %H:%M:%S.%f"


@dataclass(frozen=True)
class Query:
    """A reader of one query's rows; make it with `sql`."""

    url: str
    query: str
    zone: str | None
    times: str | None
    parameters: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"sql({foreign.masked(self.url)!r})"

    def describe(self) -> dict[str, Any]:
        """What is asked of which database; its password is masked."""
        said = {"url": foreign.masked(self.url), "query": self.query, "zone": self.zone, "times": self.times}
        return {"sql": said | {"parameters": {name: str(value) for name, value in self.parameters.items()}}}

    def read(self, window: Window, terms: Terms) -> pl.DataFrame:
        """The rows that became known in the window: what the query gives for `:start` and `:end`, and of that no more.

        Decimals are Float64 unless declared otherwise; UUIDs are text, JSON values JSON text. Raises as `foreign.read` and
        `settled`.
        """
        asked = foreign.named_parameters(self.query)
        bounds = {"start": window.start, "end": window.end}
        given = {name: self._bound(moment) for name, moment in bounds.items() if name in asked}
        found = foreign.read(self.url, self.query, {**given, **self.parameters}, zone=self.zone or "UTC")
        return settled(frame_of(found, terms.expected), window, terms, self.zone)

    def _bound(self, moment: datetime) -> Any:
        """A bound of the window, as the database compares it with its own times."""
        if self.times == "epoch":
            return (moment - EPOCH).total_seconds()
        local = moment.astimezone(ZoneInfo(self.zone or "UTC")).replace(tzinfo=None)
        if self.times is not None:
            return local.strftime(self.times)
        if foreign.knows_zones(self.url):
            return moment
        # SQLite has no times: it compares text, and this is how it and SQLAlchemy write them.
        return local.strftime(_TEXT) if foreign.kind_of(self.url) == "sqlite" else local


def sql(
    url: str, query: str, *, zone: str | None = None, times: str | None = None, params: Mapping[str, Any] | None = None
) -> Query:
    """Rows of a query, e.g. `sql("env:ORDERS_URL", "select * from orders where updated_at > :start and updated_at <= :end")`.

    `url` is SQLAlchemy's, or `env:NAME` for one that the environment variable NAME holds, or `duckdb:` for DuckDB in memory over
    files that the query names. What the query does is rolled back. `:start` and `:end` are the window's bounds; where the
    query has neither, all is read each time and rows of other windows are left out. `zone` is that of times that name none,
    in the rows and in the bounds. `times` says how the bounds are written where times are kept as text (`"%Y-%m-%dT%H:%M:%SZ"`)
    or as seconds since 1970 (`"epoch"`). `params` are further parameters.

    Raises `InvalidInput` ("source.bad_url", "source.unknown_zone", "source.missing_parameter").
    """
    check_zone(zone)
    foreign.masked(url)
    given = dict(params or {})
    missing = sorted(foreign.named_parameters(query) - {*given, *_WINDOW})
    if missing or given.keys() & set(_WINDOW):
        raise InvalidInput(
            "source.missing_parameter",
            f"the query asks for {', '.join(f':{name}' for name in missing)}"
            if missing
            else "start and end are the window's",
            remedy="Give each but start and end in params={...}. A colon that is none is written inside of quotes.",
        )
    return Query(url, query, zone, times, given)


def frame_of(found: foreign.Rows, expected: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """What a query gave as a frame: decimals as Float64 unless expected otherwise. Raises `InvalidInput` "source.column_twice"."""
    _refuse_twice(found.names)
    if found.frame is not None:
        return found.frame.with_columns(_plain(found.frame[name], expected.get(name)) for name in found.names)
    if not found.rows:
        return pl.DataFrame()
    columns = zip(*found.rows, strict=True)
    return pl.DataFrame([column_of(name, values) for name, values in zip(found.names, columns, strict=True)])


def _refuse_twice(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(
            "source.column_twice",
            f"the query gives columns twice: {', '.join(twice)}",
            remedy="Name each: select a.id as order_id, b.id as customer_id.",
        )


def _plain(column: pl.Series, expected: pl.DataType | None) -> pl.Series:
    """Of a columnar engine's dtypes those whose scale or width depends on the query are made one."""
    if column.dtype.is_decimal() and not isinstance(expected, pl.Decimal):
        return column.cast(pl.Float64())
    return column.cast(pl.Int64()) if column.dtype.is_integer() and column.dtype.is_unsigned_integer() else column
