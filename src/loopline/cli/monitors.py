"""`loopline monitors`."""

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, Project, opened
from loopline.cli.output import show, table
from loopline.cli.projects import the_project
from loopline.loop.watched import Watched, watched

app = typer.Typer(add_completion=False)

_COLUMNS = [
    "project",
    "model",
    "monitor",
    "alarms of",
    "seen up to (UTC)",
    "evidence",
    "last excess",
    "allowed",
    "labelled",
    "false pages a year",
    "alarms",
    "last alarm (UTC)",
    "open incidents",
]


@app.command()
def command(home: Home = None, project: Project = None, as_json: AsJson = False) -> None:
    """Every monitor: of harm, decisions, estimates, regret, groups, rates, changes, inputs and sources; how close to an alarm, and its alarms."""
    resources = opened(home)
    found = watched(resources, the_project(resources, project) if project else None)
    show(found, as_json=as_json, render=lambda console: _print(console, found))


def _print(console: Console, found: list[Watched]) -> None:
    if not found:
        console.print("Nothing is watched here yet: a monitor begins with the first champion.")
        return
    console.print(table("Monitors", _COLUMNS, [_row(one) for one in found]))


def _row(one: Watched) -> tuple[object, ...]:
    return (
        one.project,
        one.model,
        one.monitor,
        one.kind,
        one.watermark,
        None if one.evidence is None else f"{one.evidence:.0%} of an alarm",
        _figure(one.excess),
        _figure(one.allowed),
        None if one.coverage is None else f"{one.coverage:.1%}",
        _figure(one.false_pages_per_year),
        one.alarms,
        one.last_alarm,
        ", ".join(one.incidents) or None,
    )


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g}"
