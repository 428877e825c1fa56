"""`loopline models`."""

from typing import Any

import msgspec
import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, Project, opened
from loopline.cli.output import show, table
from loopline.cli.projects import the_project
from loopline.errors import NotFound
from loopline.gates.promotion import CHAMPION
from loopline.models import registry
from loopline.models.package import decode_package
from loopline.storage.artifacts import ArtifactStore

app = typer.Typer(add_completion=False)


@app.command()
def command(home: Home = None, project: Project = None, as_json: AsJson = False) -> None:
    """Registered models and their versions: the metrics each was judged by, what runs it, and why nothing faster does."""
    resources = opened(home)
    with resources.database.reading() as tx:
        named = registry.projects(tx)
        names = [project if project in named else the_project(resources, project)] if project else named
        found = [
            msgspec.to_builtins(version)
            | {"champion": registry.alias(tx, name, model, CHAMPION) == version.version}
            | _runtime(resources.artifacts, version.package)
            for name in names
            for model in registry.models(tx, name)
            for version in registry.versions(tx, name, model)
        ]
    show(found, as_json=as_json, render=lambda console: _print(console, found))


def _runtime(artifacts: ArtifactStore, digest: str) -> dict[str, Any]:
    """The format that serves, and of each that was tried before why it does not."""
    try:
        package = decode_package(artifacts.get(digest))
    except NotFound:
        return {"format": None, "refused": {}}
    return {"format": package.format, "refused": package.refused}


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
            one["format"] or "gone",
            one["package"][:19],
        )
        for one in found
    ]
    columns = ["project", "version", "alias", "made (UTC)", "rows", "holdout log loss", "format", "package"]
    console.print(table("Models", columns, rows))
    for one in found:
        for name, reason in one["refused"].items():
            console.print(
                f"{one['model']}:{one['version']} serves as {one['format']}, not {name}: {reason}.", soft_wrap=True
            )
