"""What commands print: JSON for programs, tables for people."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import structlog
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

_IDS = {"incident", "schedule", "project", "model", "version", "token", "table", "prediction_id", "key", "subject"}
_READABLE = 16
_BORDERS = 3
_WIDE = 160


def log_to_stderr() -> None:
    """What is logged must not mix with what is printed."""
    plain = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(  # rich would show the values of variables with an exception: rows, secrets
        processors=[*structlog.get_config()["processors"][:-1], plain],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def show(value: Any, *, as_json: bool, render: Callable[[Console], None]) -> None:
    """Print `value` as JSON, or let `render` print it for people."""
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
    else:
        wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDE
        render(Console(highlight=False, width=wide))


def bar(value: float, most: float, *, width: int = 16) -> str:
    """A bar whose length is the value's size beside `most`; what takes away is drawn lighter."""
    length = round(width * abs(value) / most) if most else 0
    return ("█" if value >= 0 else "░") * max(length, 1 if value else 0)


class table:  # noqa: N801 - reads as a function where it is used
    """A table with a heading; None is shown as a dash, times to the minute in UTC.

    Where a terminal is too narrow for it, its rows stand one below the other, a line for each column: ids are never cut.
    """

    def __init__(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        self._title, self._columns = title, columns
        self._rows = [[_cell(value) for value in row] for row in rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What rich asks for."""
        fits = sum(self._widths()) + _BORDERS * len(self._columns) + 1 <= options.max_width
        if fits or not self._rows:
            yield self._across()
        else:
            yield Text(self._title, style="italic")
            yield from self._below()

    def _widths(self) -> list[int]:
        """What each column needs to be read with ease; an id needs all of its length."""
        widths = []
        for place, column in enumerate(self._columns):
            longest = max([len(column), *(len(row[place]) for row in self._rows)])
            widths.append(longest if column in _IDS else min(longest, _READABLE))
        return widths

    def _across(self) -> Table:
        made = Table(title=Text(self._title), title_justify="left", header_style="bold")
        for column in self._columns:
            made.add_column(Text(column), overflow="fold", no_wrap=column in _IDS)
        for row in self._rows:
            made.add_row(*map(Text, row))
        return made

    def _below(self) -> Iterable[Table]:
        for row in self._rows:
            made = Table.grid(padding=(0, 2))
            made.add_column(style="bold", no_wrap=True)
            made.add_column(overflow="fold")
            for column, cell in zip(self._columns, row, strict=True):
                made.add_row(Text(column), Text(cell))
            made.add_row()
            yield made


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
