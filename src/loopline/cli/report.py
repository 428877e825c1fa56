"""`loopline report`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loopline.app.replays import Result, results_of
from loopline.app.report.operating import Standing, standing, standing_html
from loopline.app.report.page import report_html
from loopline.app.report.terminal import report_text
from loopline.cli.options import AsJson, Home, Project, opened
from loopline.cli.output import show
from loopline.cli.projects import the_project
from loopline.incidents.incident import OPEN

app = typer.Typer(add_completion=False)


@app.command()
def command(
    home: Home = None,
    project: Project = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the HTML report here.")] = None,
    watched: Annotated[
        bool,
        typer.Option(
            "--watched", help="Monitors, budget and incidents as they stand, instead of the replay's comparison."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the comparison of the replay in this home again, or with --watched what is watched; --out writes it as one HTML file."""
    resources = opened(home)
    if watched:
        stands = standing(resources, the_project(resources, project) if project else None)
        if out is not None:
            out.write_text(standing_html(stands), encoding="utf-8")
        show(stands, as_json=as_json, render=lambda console: _print_standing(console, stands, out))
        return
    results = results_of(resources, the_project(resources, project))
    for result in results:
        if out is not None:
            out.write_text(report_html(result.comparison, result.choice), encoding="utf-8")
    show(results, as_json=as_json, render=lambda console: _print(console, results))


def _print(console: Console, results: list[Result]) -> None:
    for result in results:
        console.print(report_text(result.comparison, result.choice))


def _print_standing(console: Console, stands: Standing, out: Path | None) -> None:
    going_on = [one for one in stands.incidents if one.state in OPEN]
    console.print(f"{len(stands.monitors)} monitors, {len(going_on)} open incidents, {len(stands.incidents)} in all.")
    for one in going_on:
        console.print(f"{one.id} {one.project} {one.model}, {one.kind}: {one.sentence}", markup=False)
    console.print(
        f"Report: {out}" if out else "`--out FILE` writes the report; `loopline monitors` and `budget` list the rest."
    )
