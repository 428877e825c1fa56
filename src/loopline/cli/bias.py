"""`loopline bias`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loopline.app.bias_files import FilesSaid, bias_of_files
from loopline.app.report.bias import bias_html, gaps_grid, groups_grid, lead, unjudged_sentence
from loopline.app.report.blocks import Grid
from loopline.cli.options import AsJson, Home, Project, opened
from loopline.cli.output import show, table
from loopline.cli.projects import the_project, the_version
from loopline.errors import InvalidInput
from loopline.evaluation.bias import BiasReport
from loopline.loop.bias import version_bias

app = typer.Typer(add_completion=False)


@app.command()
def command(
    version: Annotated[
        str, typer.Argument(help="MODEL:VERSION, or MODEL for its champion; not with --predictions.")
    ] = "",
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="A file of predictions that something else made.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="A file of their labels, where they stand apart.")
    ] = None,
    by: Annotated[list[str] | None, typer.Option("--by", help="A column of groups; may be given again.")] = None,
    kind: Annotated[str, typer.Option("--kind", help="binary or regression.")] = "binary",
    key: Annotated[str, typer.Option("--key", help="The column that joins predictions and labels.")] = "",
    score: Annotated[str, typer.Option("--score", help="The column of the score.")] = "",
    label: Annotated[str, typer.Option("--label", help="The column of the label.")] = "",
    at: Annotated[str, typer.Option("--at", help="The column of the time; rows of a day go together.")] = "",
    decision: Annotated[str, typer.Option("--decision", help="The column of the decision: positive, 1 or true.")] = "",
    threshold: Annotated[
        float, typer.Option("--threshold", help="Without decisions: positive from this score on.")
    ] = 0.5,
    min_rows: Annotated[int, typer.Option("--min-rows", help="Smaller groups are listed and not judged.")] = 50,
    report: Annotated[Path | None, typer.Option("--report", help="Write it as an HTML page with pictures.")] = None,
    home: Home = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """What a model does to groups of people, and how far apart they are: of a version, or of files of predictions."""
    if predictions is not None:
        said = FilesSaid(
            by=tuple(by or ()),
            kind=kind,
            key=key,
            score=score,
            label=label,
            at=at,
            decision=decision,
            threshold=threshold,
            min_rows=min_rows,
        )
        found, title = bias_of_files(predictions, labels, said), predictions.name
    elif version:
        resources = opened(home)
        name = the_project(resources, project)
        model, number = the_version(resources, name, version)
        found, title = version_bias(resources, name, model, number), f"{model}:{number}"
    else:
        raise InvalidInput(
            "bias.of_what",
            "neither a version nor predictions were named",
            remedy="Give MODEL:VERSION or --predictions.",
        )
    if report is not None:
        report.write_text(bias_html(found, title), encoding="utf-8")
    show(found, as_json=as_json, render=lambda console: _print(console, found))


def _print(console: Console, found: BiasReport) -> None:
    for grouping in found.groupings:
        by = " and ".join(grouping.by)
        if grouping.disparities:
            _grid(console, f"Gaps by {by}", gaps_grid(grouping))
        _grid(console, f"Groups by {by}", groups_grid(grouping))
        console.print(unjudged_sentence(grouping), markup=False)
    console.print(lead(found), markup=False)


def _grid(console: Console, title: str, grid: Grid) -> None:
    console.print(table(title, grid.columns, grid.rows))
