"""`loopline ask`."""

from typing import Annotated

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, Project, opened
from loopline.cli.output import show, table
from loopline.cli.projects import the_model, the_project
from loopline.loop.asked import Asked, asked_for
from loopline.values import duration

app = typer.Typer(add_completion=False)


@app.command()
def command(
    model: Annotated[str | None, typer.Argument(help="The model; needed where the project has several.")] = None,
    within: Annotated[str, typer.Option("--within", help="Of predictions for so long until now.")] = "7d",
    all_: Annotated[bool, typer.Option("--all", help="Those that have their label, too.")] = False,
    home: Home = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Which predictions to ask a person about: those that `ll.Powered(share=...)` drew by chance and that have no pushed label yet."""
    resources = opened(home)
    chosen = the_project(resources, project)
    found = the_model(resources, chosen, model)
    now = resources.clock.now()
    asked = asked_for(resources, chosen, found, since=now - duration(within), until=now)
    told = [one for one in asked if all_ or not one.labelled]
    show(told, as_json=as_json, render=lambda console: _print(console, told))


def _print(console: Console, told: list[Asked]) -> None:
    if not told:
        console.print("Nobody is to be asked.")
        return
    rows = [
        (one.key, f"{one.at:%Y-%m-%d %H:%M}", one.prediction_id, one.score, one.decision, "yes" if one.labelled else "")
        for one in told
    ]
    console.print(table("To ask", ["key", "for (UTC)", "prediction", "score", "decision", "labelled"], rows))
