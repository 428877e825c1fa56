"""`loopline reproduce`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, Project, actor, opened
from loopline.cli.output import show
from loopline.cli.projects import the_project, the_version
from loopline.loop.load import load_loop
from loopline.loop.reproduce import Reproduction, record_reproduction, reproduce

app = typer.Typer(add_completion=False)

OTHERWISE = 12
_FIELDS = 12


@app.command()
def command(
    version: Annotated[str, typer.Argument(help="MODEL:VERSION, or MODEL for its champion.")],
    file: Annotated[Path, typer.Argument(help="The loop file that trained it.")] = Path("loop.py"),
    search: Annotated[bool, typer.Option("--search", help="Make the search of its parameters again, too.")] = False,
    record: Annotated[bool, typer.Option("--record", help="Write the outcome into the ledger.")] = False,
    home: Home = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Build a registered version again from its pinned data, parameters and seed, and compare the packages bit for bit.

    Exit code 12 where it comes out otherwise; it says where, and what changed since: code, libraries, data, or a function
    that does not give the same twice.
    """
    resources = opened(home)
    name = the_project(resources, project)
    model, number = the_version(resources, name, version)
    made = reproduce(resources, load_loop(file), project=name, model=model, version=number, search=search)
    if record:
        record_reproduction(resources, made, actor=actor())
    show(made, as_json=as_json, render=lambda console: _print(console, made))
    if not made.same:
        raise typer.Exit(OTHERWISE)


def _print(console: Console, made: Reproduction) -> None:
    console.print(made.sentence, markup=False)
    for change in made.changes:
        console.print(f"  {change.kind}: {change.sentence}", markup=False)
    if made.same and made.changes:
        console.print("None of it made a difference.")
    if made.package:
        shown = made.package[:_FIELDS]
        left = len(made.package) - len(shown)
        console.print("Fields of the package that differ:")
        for line in [*shown, *([f"and {left} more"] if left else [])]:
            console.print(f"  {line}", markup=False)
    if made.scores:
        apart = f"by at most {made.scores.max_abs_difference:.3g}"
        console.print(f"Scores of {made.scores.different} of {made.scores.rows} pinned rows differ, {apart}.")
    if made.trees:
        counts = f"{made.trees.before} trees then, {made.trees.after} now"
        console.print(f"{counts}; {made.trees.different} differ, the first is tree {made.trees.first}.")
    for line in made.advice:
        console.print(line, markup=False)
