"""`loopline explain`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loopline.app.report.explanation import UNITS, prediction_html, shown, summary_sentence, version_html
from loopline.cli.options import AsJson, Home, Project, opened
from loopline.cli.output import bar, show, table
from loopline.cli.projects import the_project, the_version
from loopline.loop.explain import ExplainedPrediction, ExplainedVersion, explain_prediction, explain_version

app = typer.Typer(add_completion=False)


@app.command()
def command(
    subject: Annotated[str, typer.Argument(help="MODEL:VERSION, MODEL for its champion, or a prediction's id, pr_...")],
    home: Home = None,
    project: Project = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write it as an HTML page with pictures.")] = None,
    as_json: AsJson = False,
) -> None:
    """Which fields matter to a version, or what each added to one logged prediction."""
    resources = opened(home)
    if subject.startswith("pr_"):
        prediction = explain_prediction(resources, subject)
        _write(report, prediction_html(prediction) if report else "")
        show(prediction, as_json=as_json, render=lambda console: _print_prediction(console, prediction))
        return
    name = the_project(resources, project)
    version = explain_version(resources, name, *the_version(resources, name, subject))
    _write(report, version_html(version) if report else "")
    show(version, as_json=as_json, render=lambda console: _print_version(console, version))


def _write(path: Path | None, content: str) -> None:
    if path is not None:
        path.write_text(content, encoding="utf-8")


def _print_version(console: Console, found: ExplainedVersion) -> None:
    fields = found.summary.fields
    most = max((field.importance for field in fields), default=0.0)
    rows = [
        (field.name, bar(field.importance, most), field.importance, f"{field.share:.1%}", field.direction)
        for field in fields
    ]
    columns = ["field", "", "importance", "share", "direction"]
    console.print(table(f"{found.model}:{found.version}", columns, rows))
    console.print(summary_sentence(found.summary))


def _print_prediction(console: Console, found: ExplainedPrediction) -> None:
    told = found.explanation
    most = max(map(abs, told.contributions.values()), default=0.0)
    rows = [
        (name, shown(found.values[name]), bar(added, most), f"{added:+.4f}")
        for name, added in told.contributions.items()
    ]
    unit = UNITS[told.unit]
    console.print(table(found.prediction_id, ["field", "value", "", f"added, {unit}"], rows))
    console.print(
        f"{found.model}:{found.version} scored {found.score:.4f} ({found.decision}): {told.base:+.4f} on average over "
        f"{told.background_rows} rows, {told.total:+.4f} here, in {unit}. Method: {told.method}."
    )
