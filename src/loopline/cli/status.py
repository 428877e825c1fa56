"""`loopline status`."""

from datetime import datetime

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, opened
from loopline.cli.output import show, table
from loopline.loop.status import ModelStatus, ProjectStatus, status

app = typer.Typer(add_completion=False)


@app.command()
def command(home: Home = None, as_json: AsJson = False) -> None:
    """What serves, since when, under which decision, how close to an alarm, and what is wrong."""
    found = status(opened(home))
    show(found, as_json=as_json, render=lambda console: _print(console, found))


def _print(console: Console, found: list[ProjectStatus]) -> None:
    if not found:
        console.print("No loop was applied here yet: `loopline apply FILE`.")
        return
    rows = [
        (
            project.project,
            model.model,
            model.champion or ("elsewhere" if model.monitors and not model.versions else "fallback"),
            model.since,
            f"{model.turns} to {model.last_turn:%Y-%m-%d %H:%M}" if model.last_turn else "none",
            f"{model.monitors[0].evidence:.0%} of an alarm" if model.monitors else None,
            f"{model.monitors[0].coverage:.1%}" if model.monitors and model.monitors[0].coverage is not None else None,
            len([one for one in project.incidents if one.model == model.model]),
            _state(project, model),
        )
        for project in found
        for model in project.models
    ]
    columns = ["project", "model", "champion", "since (UTC)", "turns", "harm", "labelled", "incidents", "state"]
    console.print(table("Status", columns, rows))
    for source in (one for project in found for one in project.sources if one.state in {"stale", "failing"}):
        newest = f"newest row {source.newest:%Y-%m-%d %H:%M} UTC" if source.newest else "no row yet"
        console.print(f"[yellow]{source.state}[/] {source.table}: {newest}")
    for project in found:
        _print_project(console, project)


def _state(project: ProjectStatus, model: ModelStatus) -> str:
    acts = f"frozen by {project.frozen.by}" if project.frozen else "acting"
    return ", ".join([acts, *model.measures])


def _print_project(console: Console, project: ProjectStatus) -> None:
    for model in project.models:
        for place in model.environments[:-1]:
            serves = f"version {place.version} since {place.since:%Y-%m-%d %H:%M}" if place.version else "the fallback"
            console.print(f"{project.project}: {place.endpoint} serves {serves}")
        _print_monitors(console, project.project, model)
        if model.reviews:
            console.print(f"{project.project}: {model.reviews} predictions of {model.model} wait: loopline review")
    if project.calm:
        when = "freeze window" if project.calm.now else "next freeze window"
        console.print(f"{project.project}: {when} {_time(project.calm.start)} to {_time(project.calm.end)} UTC")
    for asked in project.approvals:
        console.print(f"[yellow]{asked.state}[/] {asked.id} {asked.subject} for {asked.environment}: {asked.why}")
    for one in project.incidents:
        console.print(f"[yellow]open[/] {one.id} {one.project}: {one.sentence}{f' ({one.owner})' if one.owner else ''}")
    if project.untold:
        console.print(
            f"[red]{project.untold} notifications[/] of {project.project} could not be told yet; see the log."
        )


def _print_monitors(console: Console, project: str, model: ModelStatus) -> None:
    for monitor in model.monitors[1:]:
        seen = f"up to {monitor.watermark:%Y-%m-%d %H:%M}"
        console.print(f"{project}: {model.model}, {monitor.name}: {monitor.evidence:.0%} of an alarm {seen}")
    for monitor in model.monitors:
        if monitor.restated:
            told = f"{monitor.restated} blocks were measured again after labels that came late or were corrected"
            console.print(f"{project}: {model.model}, {monitor.name}: {told}")
        if monitor.censored:
            console.print(f"{project}: {model.model}: {100 * monitor.censored:.1f} % of the last block is censored")


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
