"""`loopline rollback`."""

from typing import Annotated

import typer

from loopline.cli.options import AsJson, Home, Project, Reason, actor, opened
from loopline.cli.output import show
from loopline.cli.projects import the_model, the_project
from loopline.loop.changes import roll_back

app = typer.Typer(add_completion=False)


@app.command()
def command(
    model: Annotated[str | None, typer.Argument(help="The model; needed where the project has several.")] = None,
    to: Annotated[
        int | None, typer.Option("--to", help="The version to bring back; the earlier champion by default.")
    ] = None,
    environment: Annotated[
        str | None, typer.Option("--environment", help="Where to roll back; in production by default.")
    ] = None,
    reason: Reason = "rolled back on the command line",
    home: Home = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Bring back the earlier champion and its decision, after it has shown that it still scores."""
    resources = opened(home)
    name = the_project(resources, project)
    chosen = the_model(resources, name, model)
    done = roll_back(
        resources, project=name, model=chosen, actor=actor(), reason=reason, to=to, environment=environment
    )
    show(done, as_json=as_json, render=lambda console: console.print(done.sentence))
