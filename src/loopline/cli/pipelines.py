"""`loopline pipelines`."""

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from loopline.app.execute import execute
from loopline.cli.options import AsJson, Home, actor
from loopline.cli.options import opened as open_resources
from loopline.cli.output import show, table
from loopline.cli.pipelines_applied import (
    apply_pipelines,
    find_in_force,
    list_in_force,
    plan_pipelines,
    remove_pipelines,
    show_in_force,
)
from loopline.cli.telling import print_execution
from loopline.config import Settings
from loopline.errors import InvalidInput
from loopline.pipelines import reading
from loopline.pipelines.backfill import backfill, windows
from loopline.pipelines.dry_run import dry_run
from loopline.pipelines.executions import submit
from loopline.pipelines.home import PipelineHome
from loopline.pipelines.inline import check_inline
from loopline.pipelines.load import load_pipeline
from loopline.pipelines.params import read_moment, read_params, read_window
from loopline.pipelines.planning import Plan, plan
from loopline.values import duration

app = typer.Typer(add_completion=False)
app.command(name="plan")(plan_pipelines)
app.command(name="apply")(apply_pipelines)
app.command(name="remove")(remove_pipelines)

Reference = Annotated[
    str, typer.Argument(metavar="FILE[:NAME]", help="The file, and the pipeline in it where it has several.")
]
Params = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A param; may be repeated.")]
InWindow = Annotated[str | None, typer.Option("--window", metavar="START..END", help="The window, UTC.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Take no earlier result.")]


@app.callback(invoke_without_command=True)
def pipelines(context: typer.Context, home: Home = None, as_json: AsJson = False) -> None:
    """Durable pipelines. Without a further word: list those in force and those that were run here."""
    if context.invoked_subcommand is None:
        list_pipelines(home, as_json)


@app.command(name="list")
def list_pipelines(home: Home = None, as_json: AsJson = False) -> None:
    """List the pipelines that are in force, with what fires them, and those that were run in this home."""
    list_in_force(home, as_json=as_json)


@app.command(name="show")
def show_pipeline(
    pipeline: Annotated[
        str, typer.Argument(metavar="FILE[:NAME]|NAME", help="A file, or the name of a pipeline in force.")
    ],
    params: Params = None,
    window: InWindow = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Of a file: the graph, its steps and what each waits for. Of a pipeline in force: its schedules and what they did last."""
    resources = open_resources(home, must_exist=False)
    with resources.database.reading() as tx:
        found = [] if Path(pipeline).exists() else find_in_force(tx, pipeline)
    if found:
        show_in_force(resources, found, as_json=as_json)
        return
    with closing(PipelineHome(Settings.read(home))) as opened:
        graph = _planned(opened, pipeline, params, window).graph
    names = {node.number: node.name for node in graph.nodes}
    value = [
        {
            "step": node.name,
            "kind": node.kind,
            "waits_for": sorted({names[number] for number, _ in node.sources()}),
            "conditional": node.condition is not None,
            "options": msgspec.to_builtins(node.options),
            "function": node.function,
            "at": node.at,
        }
        for node in graph.nodes
    ]
    rows = [
        (one["step"], one["kind"], ", ".join(one["waits_for"]) or None, one["conditional"] or None) for one in value
    ]
    columns = ["step", "kind", "waits for", "conditional"]
    show(value, as_json=as_json, render=lambda console: console.print(table(graph.pipeline, columns, rows)))


@app.command()
def run(
    pipeline: Reference,
    params: Params = None,
    window: InWindow = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only say what each step would do, and why.")] = False,
    fresh: Fresh = False,
    inline: Annotated[
        bool, typer.Option("--inline", help="Run the steps in this process, one after the other.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Submit it, and leave it to workers.")] = False,
    priority: Annotated[int | None, typer.Option("--priority", help="Higher goes first.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Run a pipeline: submit an execution and work on it until it has ended. Exits with 1 where it failed."""
    with closing(PipelineHome(Settings.read(home))) as opened:
        planned = _planned(opened, pipeline, params, window)
        if dry:
            with opened.database.reading() as tx:
                _show_dry(dry_run(tx, opened.engine, planned, fresh=fresh), as_json=as_json)
            return
        if inline:
            check_inline(planned)
        with opened.database.transaction() as tx:
            execution, _ = submit(tx, opened.engine, planned, by=actor(), fresh=fresh, priority=priority)
        if not detach:
            execute(opened, execution, functions=planned.functions if inline else None, note=_note(sys.stderr.isatty()))
        _show_end(opened, execution, as_json=as_json)


@app.command(name="backfill")
def backfill_pipeline(
    pipeline: Reference,
    start: Annotated[str, typer.Option("--from", help="The start of the first window, UTC.")],
    end: Annotated[str, typer.Option("--until", help="The end of the last window, UTC.")],
    every: Annotated[str, typer.Option("--every", help='How long a window is, e.g. "1d".')] = "1d",
    params: Params = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Submit an execution for each window, unless there is one for it; `loopline worker` runs them."""
    with closing(PipelineHome(Settings.read(home))) as opened:
        loaded = load_pipeline(pipeline)
        over = windows(read_moment(start), read_moment(end), duration(every))
        first = next(over, None)
        if first is None:
            raise InvalidInput(
                "backfill.empty", f"there is no time between {start} and {end}", remedy="Give --until after --from."
            )
        given = read_params(loaded, _pairs(params), first)
        filled = list(
            backfill(
                opened.database,
                opened.engine,
                loaded,
                given,
                windows(read_moment(start), read_moment(end), duration(every)),
                by=actor(),
            )
        )
    rows = [
        (one.window[0], one.window[1], one.execution, "submitted" if one.new else "there already") for one in filled
    ]
    columns = ["from (UTC)", "until (UTC)", "execution", ""]
    show(filled, as_json=as_json, render=lambda console: console.print(table("Back-fill", columns, rows)))


def _planned(opened: PipelineHome, reference: str, params: list[str] | None, window: str | None) -> Plan:
    loaded = load_pipeline(reference)
    given = read_params(loaded, _pairs(params), read_window(window) if window else None)
    return plan(loaded, given, opened.engine.artifacts)


def _pairs(params: list[str] | None) -> dict[str, str]:
    pairs = [text.partition("=") for text in params or []]
    wrong = next((name for name, sign, _ in pairs if not sign), None)
    if wrong is not None:
        raise InvalidInput("pipeline.set", f"{wrong!r} sets nothing", remedy="Write --set NAME=VALUE.")
    return {name: value for name, _, value in pairs}


def _show_dry(found: list[Any], *, as_json: bool) -> None:
    rows = [
        (one.step, one.would if one.of is None else f"{one.would} ({one.reused} of {one.of} reused)", one.why)
        for one in found
    ]
    columns = ["step", "would", "why"]
    show(found, as_json=as_json, render=lambda console: console.print(table("Dry run", columns, rows)))


def _show_end(opened: PipelineHome, execution: str, *, as_json: bool) -> None:
    with opened.database.reading() as tx:
        found = reading.get_execution(tx, execution)
        failures = reading.failures_of(tx, execution)

    def render(console: Console) -> None:
        print_execution(console, found)
        for name, failure in failures:
            console.print(f"{name}: {failure.message} [{failure.error_class}]", markup=False, style="red")
        if found.state == "running":
            console.print("It has not ended: any `loopline worker` on this home goes on with it.", markup=False)
        if failures:
            console.print(f"`loopline executions resume {execution}` tries again what failed.", markup=False)

    show({**msgspec.to_builtins(found), "failures": failures}, as_json=as_json, render=render)
    if found.state in {"failed", "cancelled"}:
        raise typer.Exit(1)


def _note(terminal: bool) -> Any:  # noqa: FBT001 - asked once
    if not terminal:
        return None

    def note(counts: dict[str, int]) -> None:
        sys.stderr.write("\r\033[K" + ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
        sys.stderr.flush()

    return note
