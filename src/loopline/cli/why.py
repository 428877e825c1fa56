"""`loopline why`."""

from typing import Annotated

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, opened
from loopline.cli.output import show, table
from loopline.loop.why import Why, why

app = typer.Typer(add_completion=False)


@app.command()
def command(
    subject: Annotated[str, typer.Argument(help="pr_..., alarm_..., inc_... or MODEL:VERSION.")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Explain a prediction, an alarm, an incident or a version from what is recorded."""
    found = why(opened(home), subject)
    show(found, as_json=as_json, render=lambda console: _print(console, found))


def _print(console: Console, found: Why) -> None:
    console.print(f"[bold]{found.subject}[/] ({found.kind})")
    for sentence in found.sentences:
        console.print(sentence.replace("[", r"\["))
    features = found.facts.get("features")
    if features:
        console.print(table("Features", ["name", "value"], features.items()))
    if found.entries:
        rows = [(entry.seq, entry.at, entry.kind, entry.actor, entry.digest[:19]) for entry in found.entries]
        console.print(table("Ledger", ["entry", "at (UTC)", "kind", "actor", "digest"], rows))
