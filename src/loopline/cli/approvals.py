"""`loopline approvals`."""

from typing import Annotated

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, Project, opened
from loopline.cli.output import show, table
from loopline.cli.projects import the_project
from loopline.gates import approval
from loopline.gates.approval import Approval
from loopline.loop.status import projects

app = typer.Typer(add_completion=False)


@app.command()
def command(
    home: Home = None,
    project: Project = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only those asked for or given, and not yet used.")] = False,
    as_json: AsJson = False,
) -> None:
    """Approvals of all projects, or of one: asked for, given, used, rejected."""
    resources = opened(home)
    with resources.database.reading() as tx:
        names = [the_project(resources, project)] if project else projects(tx)
        found = [one for name in names for one in approval.find(tx, name, only_open=only_open)]
    show(found, as_json=as_json, render=lambda console: _print(console, found))


def _print(console: Console, found: list[Approval]) -> None:
    if not found:
        console.print("No approvals.")
        return
    rows = [
        (
            one.id,
            one.project,
            one.subject,
            one.environment,
            one.state,
            one.decided_by,
            one.counts_until or one.expires_at,
            ", ".join(one.authors),
            one.why,
        )
        for one in found
    ]
    columns = ["approval", "project", "version", "into", "state", "by", "until (UTC)", "not by", "why"]
    console.print(table("Approvals", columns, rows))
