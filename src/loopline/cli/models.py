"""`loopline models`."""

from typing import Any

import msgspec
import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, Project, opened
from loopline.cli.output import show, table
from loopline.cli.projects import the_project
from loopline.gates.promotion import CHAMPION
from loopline.loop.status import projects
from loopline.models import registry

app = typer.Typer(add_completion=False)


@app.command()
def command(home: Home = None, project: Project = None, as_json: AsJson = False) -> None:
    """Registered models and their versions, with the metrics each was judged by."""
    resources = opened(home)
    with resources.database.reading() as tx:
        names = [the_project(resources, project)] if project else projects(tx)
        found = [
            msgspec.to_builtins(version) | {"champion": registry.alias(tx, name, model, CHAMPION) == version.version}
            for name in names
            for model in registry.models(tx, name)
            for version in registry.versions(tx, name, model)
        ]
    show(found, as_json=as_json, render=lambda console: _print(console, found))


def _print(console: Console, found: list[dict[str, Any]]) -> None:
    if not found:
        console.print("No models yet.")
        return
    rows = [
        (
            one["project"],
            f"{one['model']}:{one['version']}",
            "champion" if one["champion"] else "",
            one["created_at"][:16],
            int(one["metrics"].get("rows") or 0),
            one["metrics"].get("holdout_log_loss"),
            one["package"][:19],
        )
        for one in found
    ]
    columns = ["project", "version", "alias", "made (UTC)", "rows", "holdout log loss", "package"]
    console.print(table("Models", columns, rows))
