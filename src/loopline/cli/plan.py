"""`loopline plan`."""

from typing import Annotated, Any

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, LoopFile, opened
from loopline.cli.output import show
from loopline.ledger.change import Change
from loopline.loop.load import load_loop
from loopline.loop.plan import Plan, plan

app = typer.Typer(add_completion=False)

CHANGES = 9
BREAKS = 11


@app.command()
def command(
    file: LoopFile,
    home: Home = None,
    as_json: AsJson = False,
    exit_code: Annotated[
        bool,
        typer.Option(
            "--exit-code", help=f"Exit with {CHANGES} if anything would change, with {BREAKS} if it would break."
        ),
    ] = False,
) -> None:
    """What a changed loop file would change, down to the views, models, endpoints and consumers it would break. Changes nothing."""
    made = plan(opened(home, must_exist=False).database, load_loop(file))
    show(made, as_json=as_json, render=lambda console: print_plan(console, made, "would"))
    if exit_code and not made.empty:
        raise typer.Exit(BREAKS if made.breaks else CHANGES)


def print_plan(console: Console, made: Plan, verb: str) -> None:
    """One line for each change, then what they touch and what they break."""
    if made.empty:
        console.print(f"{made.loop}: nothing {verb} change.")
        return
    print_changes(console, made.changes)
    for touched in made.touched:
        console.print(f"[yellow]touches[/] {touched}")
    for told in made.loosened:
        console.print(f"[red]takes an approval[/] {_short(told, 400)}")
    for one in made.breaks:
        console.print(f"[red]breaks[/] {_short(one.sentence, 400)}")


def print_changes(console: Console, changes: list[Change]) -> None:
    """One line for each change."""
    marks = {"add": "[green]+[/]", "remove": "[red]-[/]", "change": "[yellow]~[/]"}
    for change in changes:
        told = {"add": _short(change.after), "remove": _short(change.before)}.get(
            change.kind, f"{_short(change.before)} -> {_short(change.after)}"
        )
        console.print(f"{marks[change.kind]} {change.path}: {told}")


def _short(value: Any, length: int = 100) -> str:
    text = str(value).replace("[", r"\[")
    return text if len(text) <= length else text[: length - 3] + "..."
