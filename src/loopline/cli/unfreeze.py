"""`loopline unfreeze`."""

import typer

from loopline.cli.options import AsJson, Home, Project, Reason, actor, opened
from loopline.cli.output import show
from loopline.cli.projects import the_project
from loopline.loop.changes import unfreeze

app = typer.Typer(add_completion=False)


@app.command()
def command(
    reason: Reason = "unfrozen on the command line", home: Home = None, project: Project = None, as_json: AsJson = False
) -> None:
    """Allow a project's automatic action again."""
    resources = opened(home)
    name = the_project(resources, project)
    was_frozen = unfreeze(resources, project=name, actor=actor(), reason=reason)
    told = f"{name} acts again." if was_frozen else f"{name} was not frozen."
    show({"project": name, "was_frozen": was_frozen}, as_json=as_json, render=lambda console: console.print(told))
