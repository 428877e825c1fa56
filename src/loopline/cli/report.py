"""`loopline report`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loopline.app.replays import Result, results_of
from loopline.app.report.page import report_html
from loopline.app.report.terminal import report_text
from loopline.cli.options import AsJson, Home, Project, opened
from loopline.cli.output import show
from loopline.cli.projects import the_project

app = typer.Typer(add_completion=False)


@app.command()
def command(
    home: Home = None,
    project: Project = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the HTML report here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the comparison of the replay in this home again, and write its HTML report."""
    resources = opened(home)
    results = results_of(resources, the_project(resources, project))
    for result in results:
        if out is not None:
            out.write_text(report_html(result.comparison, result.choice), encoding="utf-8")
    show(results, as_json=as_json, render=lambda console: _print(console, results))


def _print(console: Console, results: list[Result]) -> None:
    for result in results:
        console.print(report_text(result.comparison, result.choice))
