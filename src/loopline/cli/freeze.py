"""`loopline freeze`."""

import typer

from loopline.cli.options import AsJson, Home, Project, Reason, actor, opened
from loopline.cli.output import show
from loopline.cli.projects import the_project
from loopline.loop.changes import freeze

app = typer.Typer(add_completion=False)


@app.command()
def command(
    reason: Reason = "frozen on the command line", home: Home = None, project: Project = None, as_json: AsJson = False
) -> None:
    """Stop all automatic action of a project at once. It goes on scoring, logging and watching."""
    resources = opened(home)
    done = freeze(resources, project=the_project(resources, project), actor=actor(), reason=reason)
    told = f"{done.project} is frozen since {done.since:%Y-%m-%d %H:%M} UTC by {done.by}: {done.reason}"
    show(done, as_json=as_json, render=lambda console: console.print(told))
