"""`loopline incidents`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, Project, Reason, actor, opened
from loopline.cli.output import show, table
from loopline.cli.projects import the_project
from loopline.incidents import incident
from loopline.incidents.incident import Incident
from loopline.loop import handling
from loopline.loop.resources import Resources
from loopline.loop.status import projects
from loopline.values import duration, utc

app = typer.Typer(add_completion=False)

OnlyOpen = Annotated[bool, typer.Option("--open", help="Only those not yet ended.")]
Id = Annotated[str, typer.Argument(metavar="INCIDENT", help="The incident, inc_....")]


@app.callback(invoke_without_command=True)
def incidents(
    context: typer.Context,
    home: Home = None,
    project: Project = None,
    only_open: OnlyOpen = False,
    as_json: AsJson = False,
) -> None:
    """Incidents of all projects, or of one. Without a further word: list them."""
    if context.invoked_subcommand is None:
        list_incidents(home, project, only_open, as_json)


@app.command(name="list")
def list_incidents(
    home: Home = None, project: Project = None, only_open: OnlyOpen = False, as_json: AsJson = False
) -> None:
    """List the incidents of all projects, or of one."""
    resources = opened(home)
    with resources.database.reading() as tx:
        names = [the_project(resources, project)] if project else projects(tx)
        found = [one for name in names for one in incident.find(tx, name, only_open=only_open)]
    show(found, as_json=as_json, render=lambda console: _print(console, found))


@app.command()
def ack(
    id_: Id, reason: Reason = "acknowledged on the command line", home: Home = None, as_json: AsJson = False
) -> None:
    """Say that you look after it: it escalates no more."""
    resources, project = _found(home, id_)
    done = handling.acknowledge(resources, project=project, incident_id=id_, actor=actor(), reason=reason)
    _told(done, f"{id_} is acknowledged by {done.acknowledged_by}.", as_json=as_json)


@app.command()
def snooze(
    id_: Id,
    until: Annotated[str, typer.Option("--until", help="For how long (2h, 3d) or until when (2026-12-24T08:00, UTC).")],
    reason: Reason = "snoozed on the command line",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Let it rest until a time; if it is not over then, it is told again."""
    resources, project = _found(home, id_)
    moment = _moment(until, resources.clock.now())
    done = handling.snooze(resources, project=project, incident_id=id_, until=moment, actor=actor(), reason=reason)
    _told(done, f"{id_} rests until {moment:%Y-%m-%d %H:%M} UTC.", as_json=as_json)


@app.command()
def assign(
    id_: Id,
    to: Annotated[str, typer.Option("--to", help="Who is to work on it; they are told.")],
    reason: Reason = "assigned on the command line",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Give it to someone."""
    resources, project = _found(home, id_)
    done = handling.assign(resources, project=project, incident_id=id_, to=to, actor=actor(), reason=reason)
    _told(done, f"{id_} is assigned to {done.assignee}.", as_json=as_json)


@app.command()
def escalate(
    id_: Id, reason: Reason = "escalated on the command line", home: Home = None, as_json: AsJson = False
) -> None:
    """Tell the next addressee now, without waiting."""
    resources, project = _found(home, id_)
    done = handling.escalate(resources, project=project, incident_id=id_, actor=actor(), reason=reason)
    _told(done, f"{id_} is escalated to level {done.level}.", as_json=as_json)


@app.command()
def comment(
    id_: Id,
    text: Annotated[str, typer.Argument(help="What there is to say; it stands in the ledger.")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Say something about it, also when it is over."""
    resources, project = _found(home, id_)
    done = handling.comment(resources, project=project, incident_id=id_, actor=actor(), text=text)
    _told(done, f"Noted on {id_}.", as_json=as_json)


@app.command()
def resolve(
    id_: Id, reason: Reason = "resolved on the command line", home: Home = None, as_json: AsJson = False
) -> None:
    """End it by your word."""
    resources, project = _found(home, id_)
    done = handling.resolve_incident(resources, project=project, incident_id=id_, actor=actor(), reason=reason)
    _told(done, f"{id_} is resolved.", as_json=as_json)


def _found(home: Path | None, incident_id: str) -> tuple[Resources, str]:
    resources = opened(home)
    with resources.database.reading() as tx:
        return resources, handling.project_of_incident(tx, incident_id)


def _moment(text: str, now: datetime) -> datetime:
    if "-" not in text:
        return now + duration(text)
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter("give 2h, 3d or e.g. 2026-12-24T08:00", param_hint="--until") from error
    return utc(read if read.tzinfo else read.replace(tzinfo=now.tzinfo))


def _told(done: Incident, text: str, *, as_json: bool) -> None:
    show(done, as_json=as_json, render=lambda console: console.print(text))


def _print(console: Console, found: list[Incident]) -> None:
    if not found:
        console.print("No incidents.")
        return
    rows = [
        (
            one.id,
            one.project,
            one.model,
            one.kind,
            one.severity,
            one.state,
            _hands(one),
            one.opened_at,
            one.closed_at,
            one.sentence,
        )
        for one in found
    ]
    columns = [
        "incident",
        "project",
        "model",
        "kind",
        "severity",
        "state",
        "with",
        "opened (UTC)",
        "closed",
        "what",
    ]
    console.print(table("Incidents", columns, rows))


def _hands(one: Incident) -> str | None:
    """Who looks after it, or whose it is."""
    if one.snoozed_until is not None:
        return f"snoozed to {one.snoozed_until:%Y-%m-%d %H:%M}"
    taken = one.assignee or one.acknowledged_by
    return taken or (f"{one.owner}, not acknowledged" if one.owner else None)
