"""`loopline pipelines plan`, `apply`, `remove`, and what is in force."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from loopline.cli.options import AsJson, Home, Project, actor, opened
from loopline.cli.output import show, table
from loopline.cli.plan import CHANGES, print_changes
from loopline.errors import InvalidInput
from loopline.loop import store as loop_store
from loopline.loop.resources import Resources
from loopline.pipelines import reading
from loopline.pipelines.applied import applied
from loopline.pipelines.applied.applied import InForce, PipelinePlan
from loopline.pipelines.applied.declared import Declared, declared
from loopline.pipelines.executions import PROJECT
from loopline.pipelines.schedules import schedule
from loopline.pipelines.schedules.tick import ticks
from loopline.storage.database import Transaction

PipelineFile = Annotated[Path, typer.Argument(metavar="FILE", help="The pipeline file.")]


def plan_pipelines(
    file: PipelineFile,
    project: Project = None,
    home: Home = None,
    as_json: AsJson = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help=f"Exit with {CHANGES} if anything would change.")
    ] = False,
) -> None:
    """What putting a pipeline file in force would change: pipelines, schedules, code. Changes nothing."""
    resources = opened(home, must_exist=False)
    said = declared(file, resources.artifacts, at=resources.clock.now())
    with resources.database.reading() as tx:
        made = applied.plan(tx, said, project=_project(tx, project, said.file))
    show(made, as_json=as_json, render=lambda console: _print_plan(console, made, "would"))
    if exit_code and not made.empty:
        raise typer.Exit(CHANGES)


def apply_pipelines(file: PipelineFile, project: Project = None, home: Home = None, as_json: AsJson = False) -> None:
    """Put a pipeline file in force: its schedules start, with the code as it is now. Applying it again changes nothing.

    The project is that of the home's loop, where it has one.
    """
    resources = opened(home, must_exist=False)
    at = resources.clock.now()
    said = declared(file, resources.artifacts, at=at)
    with resources.database.transaction() as tx:
        owner = _project(tx, project, said.file)
        made = applied.apply(tx, said, project=owner, at=at, actor=actor(), tables=resources.tables)
    show(made, as_json=as_json, render=lambda console: _print_applied(console, resources, made, said))


def remove_pipelines(
    file: Annotated[str, typer.Argument(metavar="MODULE", help="The file, as `loopline pipelines` names it.")],
    project: Project = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Take the pipelines of a file out of force. Their schedules end; what was started goes on."""
    resources = opened(home)
    with resources.database.transaction() as tx:
        owner = _project(tx, project, file)
        made = applied.remove(tx, file, project=owner, at=resources.clock.now(), actor=actor())
    show(made, as_json=as_json, render=lambda console: _print_plan(console, made, "did"))


def list_in_force(home: Path | None, *, as_json: bool) -> None:
    """List the pipelines that are in force, with their schedules, and those that were run here."""
    resources = opened(home, must_exist=False)
    now = resources.clock.now()
    with resources.database.reading() as tx:
        runs = {name: (count, last) for name, count, last in reading.pipelines_known(tx)}
        held = [(one, _schedules(tx, one, now)) for one in applied.in_force(tx)]
    names = {one.pipeline for one, _ in held}
    value = [
        {**msgspec.structs.asdict(one), "schedules": said, "executions": count, "last": last}
        for one, said in held
        for count, last in [runs.get(one.pipeline, (0, None))]
    ]
    value += [
        {"pipeline": name, "project": None, "file": None, "schedules": [], "executions": count, "last": last}
        for name, (count, last) in runs.items()
        if name not in names
    ]
    rows = [
        (one["pipeline"], one["project"], one["file"], _fires(one["schedules"]), _next(one["schedules"]),
         one["executions"], one["last"])
        for one in value
    ]  # fmt: skip
    columns = ["pipeline", "project", "file", "fires", "next (UTC)", "executions", "last (UTC)"]
    show(value, as_json=as_json, render=lambda console: console.print(table("Pipelines", columns, rows)))


def find_in_force(tx: Transaction, name: str) -> list[InForce]:
    """The pipelines in force of that name, of every project."""
    return applied.in_force(tx, pipeline=name)


def show_in_force(resources: Resources, found: list[InForce], *, as_json: bool) -> None:
    """Where a pipeline in force comes from, what it takes, and its schedules with what they did last."""
    now = resources.clock.now()
    with resources.database.reading() as tx:
        value = [{**msgspec.structs.asdict(one), "schedules": _schedules(tx, one, now)} for one in found]

    def render(console: Console) -> None:
        for one in value:
            console.print(f"{one['pipeline']}{one['takes']} of {one['file']} in {one['project']}", markup=False)
            console.print(
                f"in force since {one['at']:%Y-%m-%d %H:%M} UTC by {one['actor']}; code {one['code']}", markup=False
            )
            rows = [(each["id"], each["says"], each["state"], _next([each]), each["last"]) for each in one["schedules"]]
            console.print(table("Schedules", ["schedule", "fires", "state", "next (UTC)", "last tick"], rows))

    show(value, as_json=as_json, render=render)


def _schedules(tx: Transaction, one: InForce, now: datetime) -> list[dict[str, Any]]:
    found = schedule.find(tx, one.project, pipeline=one.pipeline)
    return [
        {"id": each.id, "says": each.declared.sentence, "params": each.declared.params, "state": each.state,
         "upcoming": schedule.upcoming(each, now, 3), "last": _last(tx, each.id)}
        for each in found
    ]  # fmt: skip


def _last(tx: Transaction, schedule_id: str) -> str | None:
    found = ticks(tx, [schedule_id], limit=1)
    return (
        f"{found[0].fire_at:%Y-%m-%d %H:%M} {found[0].state}: {found[0].execution or found[0].reason}"
        if found
        else None
    )


def _fires(schedules: list[dict[str, Any]]) -> str | None:
    return "; ".join(one["says"] for one in schedules) or None


def _next(schedules: list[dict[str, Any]]) -> datetime | None:
    return min((at for one in schedules for at in one["upcoming"]), default=None)


def _project(tx: Transaction, said: str | None, file: str) -> str:
    """What was said; where the file is in force; the home's loop; else that of pipelines without one."""
    found = [said] if said else applied.projects_of(tx, file) or loop_store.applied_loops(tx) or [PROJECT]
    if len(found) > 1:
        raise InvalidInput(
            "pipeline.which_project",
            f"{file} may belong to {len(found)} projects",
            remedy=f"Say --project: {', '.join(found)}.",
        )
    return found[0]


def _print_plan(console: Console, made: PipelinePlan, verb: str) -> None:
    if made.empty:
        console.print(f"{made.file} in {made.project}: nothing {verb} change.")
        return
    print_changes(console, made.changes)
    for name in made.ended:
        console.print(f"[red]ends[/] the schedules of {name}")


def _print_applied(console: Console, resources: Resources, made: PipelinePlan, said: Declared) -> None:
    _print_plan(console, made, "did")
    with resources.database.reading() as tx:
        for name in said.schedules:
            for one in schedule.find(tx, made.project, pipeline=name):
                when = f", next at {one.next_at:%Y-%m-%d %H:%M:%S} UTC" if one.next_at else ""
                console.print(f"{name}: {one.declared.sentence}{when}", markup=False)
