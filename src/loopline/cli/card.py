"""`loopline card`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from loopline.app.report.card import card_html, card_markdown
from loopline.cli.options import AsJson, Home, Project, opened
from loopline.cli.output import show
from loopline.cli.projects import the_project, the_version
from loopline.errors import InvalidInput
from loopline.loop.card import Card, card_of

app = typer.Typer(add_completion=False)


@app.command()
def command(
    version: Annotated[str, typer.Argument(help="MODEL:VERSION, or MODEL for its champion.")],
    output: Annotated[Path | None, typer.Option("--output", help="Write it to a file, .md or .html.")] = None,
    home: Home = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """The model card of a version, from what is recorded: purpose, data, performance, groups, limits, who changed what."""
    if output is not None and output.suffix.lower() not in {".md", ".html"}:
        raise InvalidInput(
            "card.format", f"{output} is neither .md nor .html", remedy="Name a file card.md or card.html."
        )
    resources = opened(home)
    name = the_project(resources, project)
    card = card_of(resources, name, *the_version(resources, name, version))
    if output is not None:
        render = card_html if output.suffix.lower() == ".html" else card_markdown
        output.write_text(render(card), encoding="utf-8")
    show(card, as_json=as_json, render=lambda console: _print(console, card, output))


def _print(console: Console, card: Card, output: Path | None) -> None:
    if output is not None:
        console.print(f"The card of {card.model}:{card.version} is in {output}.", markup=False)
    else:
        console.print(Markdown(card_markdown(card)) if console.is_terminal else card_markdown(card), markup=False)
