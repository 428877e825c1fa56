"""`loopline schedules`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, Project, Reason, actor, opened
from loopline.cli.output import show, table
from loopline.errors import InvalidInput
from loopline.loop.resources import Resources
from loopline.pipelines.schedules import schedule, webhook
from loopline.pipelines.schedules.schedule import Schedule
from loopline.pipelines.schedules.tick import Tick, ticks
from loopline.pipelines.schedules.triggers import on_webhook

app = typer.Typer(add_completion=False)

Id = Annotated[str, typer.Argument(metavar="SCHEDULE", help="The schedule, sched_....")]
Pipeline = Annotated[str | None, typer.Option("--pipeline", help="Only those of this pipeline.")]
Upcoming = Annotated[int, typer.Option("--next", min=1, max=100, help="How many of the next fire times to tell.")]


@app.callback(invoke_without_command=True)
def schedules(
    context: typer.Context,
    home: Home = None,
    project: Project = None,
    pipeline: Pipeline = None,
    upcoming: Upcoming = 3,
    as_json: AsJson = False,
) -> None:
    """Schedules of all projects, or of one, and when they fire next. Without a further word: list them."""
    if context.invoked_subcommand is None:
        list_schedules(home, project, pipeline, upcoming, as_json)


@app.command(name="list")
def list_schedules(
    home: Home = None,
    project: Project = None,
    pipeline: Pipeline = None,
    upcoming: Upcoming = 3,
    as_json: AsJson = False,
) -> None:
    """List schedules and when they fire next."""
    resources = opened(home)
    now = resources.clock.now()
    with resources.database.reading() as tx:
        names = [project] if project else schedule.projects(tx)
        found = [one for name in names for one in schedule.find(tx, name, pipeline=pipeline)]
    told = [(one, schedule.upcoming(one, now, upcoming)) for one in found]
    value = [{**_plain(one), "upcoming": times, "says": one.declared.sentence} for one, times in told]
    show(value, as_json=as_json, render=lambda console: _print(console, told, now))


@app.command()
def pause(id_: Id, reason: Reason = "paused on the command line", home: Home = None, as_json: AsJson = False) -> None:
    """Start nothing by a schedule until it is resumed."""
    resources, found = _found(home, id_)
    with resources.database.transaction() as tx:
        done = schedule.pause(tx, found, at=resources.clock.now(), actor=actor(), reason=reason)
    show(_plain(done), as_json=as_json, render=lambda console: console.print(f"{id_} is paused."))


@app.command()
def resume(
    id_: Id,
    catch_up: Annotated[
        bool, typer.Option("--catch-up", help="Start what fell into the pause, as its policy says.")
    ] = False,
    reason: Reason = "resumed on the command line",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Start by a schedule again what comes from now on. Also for one that a wrong clock has carried far ahead."""
    resources, found = _found(home, id_)
    with resources.database.transaction() as tx:
        done = schedule.resume(
            tx,
            found,
            at=resources.clock.now(),
            actor=actor(),
            reason=reason,
            catch_up=catch_up,
            tables=resources.tables,
        )
    when = f", next at {done.next_at:%Y-%m-%d %H:%M} UTC" if done.next_at else ""
    show(_plain(done), as_json=as_json, render=lambda console: console.print(f"{id_} is active{when}."))


@app.command(name="ticks")
def list_ticks(
    id_: Id,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many of the newest.")] = 50,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """The ticks of a schedule, newest first: what they started, and what was passed over and why."""
    resources, found = _found(home, id_)
    with resources.database.reading() as tx:
        told = ticks(tx, [found.id], limit=limit)
    value = [{"id": one.id, **msgspec.structs.asdict(one)} for one in told]
    show(value, as_json=as_json, render=lambda console: _print_ticks(console, found, told))


@app.command()
def hook(
    name: Annotated[str, typer.Argument(metavar="HOOK", help="The webhook, as ll.on_webhook names it.")],
    project: Project = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take its secrets away: nothing gets in any more.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a webhook's secret, shown once. An earlier one stays valid for a day."""
    resources, hook_ = opened(home), on_webhook(name).hook
    owner, at = project or _only_project(resources), resources.clock.now()
    with resources.database.transaction() as tx:
        if remove:
            webhook.remove(tx, project=owner, hook=hook_, at=at, actor=actor())
            secret = None
        else:
            sealing = resources.pseudonyms.secret(webhook.PURPOSE)
            secret = webhook.make_secret(tx, project=owner, hook=hook_, sealing=sealing, at=at, actor=actor())
    value = {"project": owner, "hook": hook_, "path": f"/api/v1/hooks/{owner}/{hook_}", "secret": secret}
    show(value, as_json=as_json, render=lambda console: _print_secret(console, value))


def _found(home: Path | None, schedule_id: str) -> tuple[Resources, Schedule]:
    resources = opened(home)
    with resources.database.reading() as tx:
        return resources, schedule.get(tx, schedule_id)


def _only_project(resources: Resources) -> str:
    with resources.database.reading() as tx:
        known = schedule.projects(tx)
    if len(known) != 1:
        raise InvalidInput(
            "schedule.which_project",
            f"{len(known)} projects of this home have schedules",
            remedy=f"Say --project: {', '.join(known) or 'the one the pipeline belongs to'}.",
        )
    return known[0]


def _plain(one: Schedule) -> dict[str, Any]:
    return msgspec.structs.asdict(one)


def _print(console: Console, told: list[tuple[Schedule, list[datetime]]], now: datetime) -> None:
    if not told:
        console.print("No schedules.")
        return
    rows = [
        (one.id, one.project, one.pipeline, one.declared.sentence, _state(one, now), _times(times))
        for one, times in told
    ]
    console.print(table("Schedules", ["schedule", "project", "pipeline", "fires", "state", "next (UTC)"], rows))


def _state(one: Schedule, now: datetime) -> str:
    if one.state == "paused":
        return f"paused by {one.changed_by}: {one.reason}"
    return f"ahead of the clock, to {one.passed:%Y-%m-%d %H:%M}" if one.passed > now else one.state


def _times(times: list[datetime]) -> str | None:
    return ", ".join(f"{at:%Y-%m-%d %H:%M}" for at in times) or None


def _print_ticks(console: Console, found: Schedule, told: list[Tick]) -> None:
    if not told:
        console.print(f"{found.id} ({found.declared.sentence}) has not fired yet.")
        return
    rows = [
        (one.fire_at, one.window_start, one.window_end, one.state, one.execution, one.reason or None) for one in told
    ]
    columns = ["fired (UTC)", "window from", "to", "state", "execution", "why"]
    console.print(table(f"Ticks of {found.pipeline}: {found.declared.sentence}", columns, rows))


def _print_secret(console: Console, value: dict[str, Any]) -> None:
    if value["secret"] is None:
        console.print(f"Nothing gets in by {value['hook']} any more.")
        return
    console.print(value["secret"])
    console.print(
        f"[dim]Send signed messages (Standard Webhooks) to POST {value['path']}. Keep the secret: it is shown once.[/]"
    )
