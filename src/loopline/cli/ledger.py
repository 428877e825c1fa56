"""`loopline ledger`."""

from typing import Annotated, Any

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, Project, opened
from loopline.cli.output import show, table
from loopline.cli.projects import the_project
from loopline.ledger import chain
from loopline.loop.access_changes import LEDGER
from loopline.loop.resources import Resources
from loopline.loop.status import projects
from loopline.pipelines.applied.applied import pipeline_projects

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def verify(home: Home = None, project: Project = None, as_json: AsJson = False) -> None:
    """Recompute every digest of the chain; exit code 6 names the first entry that is not what it was."""
    resources = opened(home)
    with resources.database.reading() as tx:
        every = dict.fromkeys([*projects(tx), *pipeline_projects(tx), LEDGER])
        names = [_ledger_of(resources, project)] if project else list(every)
        heads: dict[str, Any] = {name: chain.verify(tx, name) for name in names}
    show(heads, as_json=as_json, render=lambda console: _print_heads(console, heads))


@app.command(name="show")
def show_entries(
    home: Home = None,
    project: Project = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only entries of this kind, e.g. promotion.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Who or what changed what serves, when and why; newest first."""
    resources = opened(home)
    name = _ledger_of(resources, project)
    with resources.database.reading() as tx:
        found = chain.entries(tx, name, kind=kind, limit=limit, newest_first=True)
    rows = [(one.seq, one.at, one.kind, one.subject, one.actor, one.digest[:19]) for one in found]
    columns = ["entry", "at (UTC)", "kind", "subject", "actor", "digest"]
    show(found, as_json=as_json, render=lambda console: console.print(table(f"Ledger of {name}", columns, rows)))


def _ledger_of(resources: Resources, project: str | None) -> str:
    """A project's, or that of who may do what."""
    return LEDGER if project == LEDGER else the_project(resources, project)


def _print_heads(console: Console, heads: dict[str, Any]) -> None:
    for name, head in heads.items():
        console.print(f"{name}: {head.seq} entries, unbroken, digest {head.digest}")
