"""`loopline promote`."""

from typing import Annotated

import typer

from loopline.cli.options import AsJson, Home, Project, Reason, actor, opened
from loopline.cli.output import show
from loopline.cli.projects import the_model, the_project
from loopline.loop.changes import promote

app = typer.Typer(add_completion=False)


@app.command()
def command(
    version: Annotated[str, typer.Argument(help="MODEL:VERSION, or VERSION where the project has one model.")],
    to: Annotated[str | None, typer.Option("--to", help="The environment; production by default.")] = None,
    reason: Reason = "promoted on the command line",
    home: Home = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Make a version the champion by your word. It is tried first; the ledger says who did it and why.

    Where the environment takes an approval, that is asked for; asked again once it was given, the version enters.
    """
    resources = opened(home)
    name = the_project(resources, project)
    model, _, number = version.rpartition(":")
    if not number.isdigit():
        raise typer.BadParameter("give MODEL:VERSION, e.g. late_arrival:3", param_hint="VERSION")
    chosen = the_model(resources, name, model or None)
    done = promote(resources, project=name, model=chosen, version=int(number), actor=actor(), reason=reason, to=to)
    show(done, as_json=as_json, render=lambda console: console.print(done.sentence))
