"""`loopline init`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loopline.app.scaffold.scaffold import Scaffold, scaffold
from loopline.cli.output import show
from loopline.clock import SystemClock

app = typer.Typer(add_completion=False)

# As in `cli.options`, which would load a home's whole machinery: this command needs none.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def command(
    folder: Annotated[Path, typer.Argument(help="Where to write it; made if need be.")] = Path(),
    where: Annotated[
        str | None,
        typer.Option("--from", help="Data, or the JSON that check, watch, serve or `runs show --json` wrote."),
    ] = None,
    label: Annotated[str | None, typer.Option("--label", help="The column to be predicted.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="The data, where the JSON does not say it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a loop that runs: an example, or one that goes on from data or from what was used. Overwrites nothing."""
    made = scaffold(folder, now=SystemClock().now(), where=where, label=label, data=data)
    show(made, as_json=as_json, render=lambda console: _print(console, made))


def _print(console: Console, made: Scaffold) -> None:
    console.print(f"Written into {made.folder}: {', '.join(made.files)}", markup=False, soft_wrap=True)
    if made.decide:
        console.print("\n[bold]Decide[/], in loop.py:")
        for line in made.decide:
            console.print(f"  {line}", markup=False, soft_wrap=True)
    console.print("\n[bold]What next:[/]")
    into = f"cd {made.folder} && " if made.folder != "." else ""
    command = f"loopline replay loop.py --from {made.first} --until {made.last}"
    console.print(f"  {into}{command}", markup=False, soft_wrap=True)
