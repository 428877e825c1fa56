"""`loopline up`."""

import signal
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loopline.app.addresses import Addresses
from loopline.app.operation import operation
from loopline.cli.options import AsJson, Home
from loopline.cli.output import show
from loopline.config import Settings

app = typer.Typer(add_completion=False)


@app.command()
def command(
    file: Annotated[
        Path | None, typer.Argument(help="The loop file; without one only the pipelines of the home are operated.")
    ] = None,
    home: Home = None,
    begin: Annotated[
        datetime | None,
        typer.Option(
            "--from", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"], help="Ask sources from here (UTC) the first time."
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="How many processes score.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run the loop for real: control plane, scheduler, scoring and the pipelines in force. Ends on Ctrl-C.

    In a replay's home it goes on from where the replay ended.
    """
    start = begin.replace(tzinfo=UTC) if begin else None
    settings = Settings.read(home)
    running = operation(replace(settings, workers=workers or settings.workers), file, begin=start)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what was begun, as a Ctrl-C does
    where = running.start()
    show(where, as_json=as_json, render=lambda console: _print(console, where))
    running.run()


def _print(console: Console, where: Addresses) -> None:
    if where.scoring:
        console.print(f"Scoring        {where.scoring}")
    console.print(f"Control plane  {where.control}")
    console.print(f"Log in once    {where.login}")
    if where.continues:
        console.print(
            f"[dim]The clock goes on from the replay's end; it stands at {where.continues:%Y-%m-%d %H:%M} UTC.[/]"
        )
    console.print("[dim]For a token: loopline tokens issue NAME. Ctrl-C stops.[/]")
