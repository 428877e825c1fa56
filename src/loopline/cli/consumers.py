"""`loopline consumers`."""

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, opened
from loopline.cli.output import show, table
from loopline.loop.consumer import ConsumerStatus, list_consumers

app = typer.Typer(add_completion=False)


@app.command()
def command(home: Home = None, as_json: AsJson = False) -> None:
    """Who reads which tables from outside, which columns as what, and whether the tables are as they count on."""
    found = list_consumers(opened(home))
    show(found, as_json=as_json, render=lambda console: _print(console, found))


def _print(console: Console, found: list[ConsumerStatus]) -> None:
    if not found:
        console.print("No consumer is registered: loop.consumer(...) in a loop file registers one.")
        return
    rows = [(one.consumer, one.reads, _columns(one), one.owner or None, one.loop, _state(one)) for one in found]
    console.print(table("Consumers", ["consumer", "table", "columns", "owner", "loop", "state"], rows))


def _columns(one: ConsumerStatus) -> str:
    return ", ".join(name if dtype is None else f"{name} {dtype}" for name, dtype in one.columns.items())


def _state(one: ConsumerStatus) -> str:
    if one.broken is None:
        return "no table yet"
    return "broken: " + "; ".join(one.broken) if one.broken else "kept"
