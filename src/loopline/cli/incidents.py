"""`loopline incidents`."""

from typing import Annotated

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, Project, Reason, actor, opened
from loopline.cli.output import show, table
from loopline.cli.projects import the_project
from loopline.incidents import incident
from loopline.incidents.incident import Incident
from loopline.loop.handling import resolve_incident
from loopline.loop.status import projects

app = typer.Typer(add_completion=False)


@app.command()
def command(
    home: Home = None,
    project: Project = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only those not yet ended.")] = False,
    resolve: Annotated[str | None, typer.Option("--resolve", help="End this incident.")] = None,
    reason: Reason = "resolved on the command line",
    as_json: AsJson = False,
) -> None:
    """List the incidents of all projects, or of one; or end one by your word."""
    resources = opened(home)
    if resolve is not None:
        name = the_project(resources, project)
        resolve_incident(resources, project=name, incident_id=resolve, actor=actor(), reason=reason)
    with resources.database.reading() as tx:
        names = [the_project(resources, project)] if project else projects(tx)
        found = [one for name in names for one in incident.find(tx, name, only_open=only_open)]
    show(found, as_json=as_json, render=lambda console: _print(console, found))


def _print(console: Console, found: list[Incident]) -> None:
    if not found:
        console.print("No incidents.")
        return
    rows = [
        (one.id, one.project, one.model, one.kind, one.state, one.opened_at, one.closed_at, one.sentence)
        for one in found
    ]
    columns = ["incident", "project", "model", "kind", "state", "opened (UTC)", "closed", "what"]
    console.print(table("Incidents", columns, rows))
