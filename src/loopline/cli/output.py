"""What commands print: JSON for programs, tables for people."""

import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import structlog
from rich.console import Console
from rich.table import Table

_IDS = {"incident", "project", "model", "version", "token", "table", "prediction_id", "key"}


def log_to_stderr() -> None:
    """What is logged must not mix with what is printed."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def show(value: Any, *, as_json: bool, render: Callable[[Console], None]) -> None:
    """Print `value` as JSON, or let `render` print it for people."""
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
    else:
        wide = None if sys.stdout.isatty() else 160
        render(Console(highlight=False, width=wide))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A table with a heading; None is shown as a dash, times to the minute in UTC."""
    made = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column in _IDS)
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("[", r"\[")
