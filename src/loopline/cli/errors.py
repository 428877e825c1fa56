"""`loopline errors`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loopline.app.error_report import DAYS, ErrorReport, error_html, error_report, shares, took
from loopline.cli.options import AsJson, Home, opened
from loopline.cli.output import show, table
from loopline.config import Settings
from loopline.pipelines.healing import postponed
from loopline.pipelines.healing.postponed import Postponed
from loopline.pipelines.schedules.wall import known_zone
from loopline.values import duration

app = typer.Typer(add_completion=False)

_SHADES = " ░▒▓█"


@app.command()
def command(
    home: Home = None,
    project: Annotated[str | None, typer.Option("--project", help="Only those of this project.")] = None,
    since: Annotated[str, typer.Option("--since", help="How far back, e.g. 12h or 30d.")] = "30d",
    zone: Annotated[str, typer.Option("--zone", help="Whose hours and weekdays are told, e.g. Europe/Berlin.")] = "UTC",
    out: Annotated[Path | None, typer.Option("--out", help="Write an HTML report here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Which errors recur, when, what healing them cost, and what it hides."""
    ran = (Settings.read(home).home / "artifacts").is_dir()  # a home that only ran pipelines has no keys yet
    resources = opened(home, must_exist=not ran)
    end = resources.clock.now()
    with resources.database.reading() as tx:
        report = error_report(tx, project, start=end - duration(since), end=end, zone=known_zone(zone))
        names = [project] if project else postponed.projects(tx)
        later = [one for name in names for one in postponed.waiting(tx, name)]
    if out is not None:
        out.write_text(error_html(report, f"Errors of {project or 'all projects'}"), encoding="utf-8")
    value = {"found": report.found, "deeper": report.deeper, "postponed": later}
    show(value, as_json=as_json, render=lambda console: _print(console, report, later))


def _print(console: Console, report: ErrorReport, later: list[Postponed]) -> None:
    for sentence in report.headlines:
        console.print(sentence)
    if report.found.failures:
        _print_patterns(console, report)
        _print_hours(console, report)
    if report.found.costs:
        _print_costs(console, report)
    if later:
        rows = [(one.pipeline, one.window_start, one.window_end, one.due_at, one.number, one.why) for one in later]
        console.print(
            table("To be executed again", ["pipeline", "window from", "to", "due (UTC)", "time", "why"], rows)
        )


def _print_patterns(console: Console, report: ErrorReport) -> None:
    rows = [
        (one.name, one.class_, one.failures, one.executions, shares(one.steps), shares(one.sources) or None, one.last, one.shape or None)
        for one in report.found.patterns
    ]  # fmt: skip
    columns = ["error", "class", "attempts", "executions", "steps", "sources", "last (UTC)", "what"]
    console.print(table("What recurs", columns, rows))


def _print_hours(console: Console, report: ErrorReport) -> None:
    hours = report.found.hours
    most = max(map(max, hours))
    console.print(f"When ({report.found.zone}, {_SHADES[-1]} is {most})")
    console.print("     0     6     12    18    ")
    for day, counts in zip(DAYS, hours, strict=True):
        shown = "".join(_SHADES[-(-count * (len(_SHADES) - 1) // most)] for count in counts)
        console.print(f"{day}  {shown}")


def _print_costs(console: Console, report: ErrorReport) -> None:
    rows = [
        (
            one.kind.replace("_", " "),
            one.tried,
            one.helped,
            one.failed,
            took(one.seconds),
            f"{one.stale_results}, up to {took(one.stale_seconds_most)}" if one.stale_results else None,
            one.rows_set_aside or None,
        )
        for one in report.found.costs
    ]
    columns = ["remedy", "tried", "helped", "failed", "time", "older results", "rows set aside"]
    console.print(table("What healing cost", columns, rows))
