"""`loopline executions`."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from loopline.app.execute import execute
from loopline.cli.options import AsJson, Home, actor
from loopline.cli.output import show, table
from loopline.cli.telling import print_execution, print_executions, print_steps
from loopline.config import Settings
from loopline.errors import NotFound
from loopline.pipelines import executions as engine
from loopline.pipelines import reading
from loopline.pipelines.again import resume as resume_execution
from loopline.pipelines.home import PipelineHome
from loopline.pipelines.why import why as why_step

app = typer.Typer(add_completion=False)

Beginning = Annotated[
    str | None, typer.Argument(metavar="[EXECUTION]", help="The id, or its beginning; the newest by default.")
]
Named = Annotated[str, typer.Argument(metavar="EXECUTION", help="The id, or its beginning.")]
Detach = Annotated[bool, typer.Option("--detach", help="Leave it to workers.")]


@app.callback(invoke_without_command=True)
def executions(
    context: typer.Context,
    home: Home = None,
    pipeline: Annotated[str, typer.Option("--pipeline", help="Only of this pipeline.")] = "",
    state: Annotated[str, typer.Option("--state", help="Only running, done, failed or cancelled ones.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Executions of pipelines. Without a further word: list them."""
    if context.invoked_subcommand is None:
        list_executions(home, pipeline, state, limit, as_json)


@app.command(name="list")
def list_executions(
    home: Home = None,
    pipeline: Annotated[str, typer.Option("--pipeline", help="Only of this pipeline.")] = "",
    state: Annotated[str, typer.Option("--state", help="Only running, done, failed or cancelled ones.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List executions, the newest first."""
    with _opened(home) as opened, opened.database.reading() as tx:
        found = reading.find_executions(tx, pipeline=pipeline, state=state, limit=limit)
    show(found, as_json=as_json, render=lambda console: print_executions(console, found))


@app.command(name="show")
def show_execution(
    execution: Beginning = None,
    events: Annotated[bool, typer.Option("--events", help="Also everything that happened, in order.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """One execution, its steps, and what went wrong."""
    with _opened(home) as opened, opened.database.reading() as tx:
        name = reading.resolve_execution(tx, execution)
        found = reading.get_execution(tx, name)
        steps = list(reading.steps_of(tx, name))
        happened = list(reading.events_of(tx, name)) if events else []

    def render(console: Console) -> None:
        print_execution(console, found)
        print_steps(console, steps)
        if events:
            rows = [
                (one.at, one.kind, one.step, one.attempt, one.worker, msgspec.json.encode(one.detail).decode())
                for one in happened
            ]
            console.print(table("Events", ["at (UTC)", "what", "step", "attempt", "worker", "detail"], rows))

    value = {**msgspec.to_builtins(found), "each_step": steps} | ({"events": happened} if events else {})
    show(value, as_json=as_json, render=render)


@app.command(name="log")
def show_log(
    step: Annotated[str, typer.Argument(help="The step.")],
    execution: Annotated[str | None, typer.Option("--execution", help="The execution; the newest by default.")] = None,
    attempt: Annotated[int | None, typer.Option("--attempt", help="Which attempt; the last by default.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """What a step printed."""
    with _opened(home) as opened:
        with opened.database.reading() as tx:
            name = reading.resolve_execution(tx, execution)
            found = next((one for one in reading.steps_of(tx, name) if one.name == step), None)
            attempts = [] if found is None else reading.attempts_of(tx, name, found.number)
        chosen = [one for one in attempts if attempt in {None, one.attempt}]
        if not chosen:
            raise NotFound(
                "execution.no_attempt",
                f"{name} has no attempt at {step!r}",
                remedy="`loopline executions show` lists its steps.",
            )
        digest = chosen[-1].log
        text = "" if digest is None else opened.engine.artifacts.get(digest).decode(errors="replace")
    value = {"step": step, "attempt": chosen[-1].attempt, "log": text}
    show(
        value,
        as_json=as_json,
        render=lambda console: console.print(text or "It printed nothing.", markup=False, end=""),
    )


@app.command()
def cancel(execution: Named, home: Home = None, as_json: AsJson = False) -> None:
    """Cancel what has not ended; what runs is killed within a second or two."""
    with _opened(home) as opened:
        name = _resolved(opened, execution)
        with opened.database.transaction() as tx:
            engine.cancel(tx, opened.engine, name, by=actor())
        _show(opened, name, as_json=as_json)


@app.command()
def resume(
    execution: Beginning = None,
    step: Annotated[
        str | None, typer.Option("--from", help="Run this step and all below it again, done or not.")
    ] = None,
    detach: Detach = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Let an execution go on: what failed or was cancelled is tried again, what is done stays."""
    with _opened(home) as opened:
        name = _resolved(opened, execution)
        with opened.database.transaction() as tx:
            resume_execution(tx, opened.engine, name, step=step, by=actor())
        if not detach:
            execute(opened, name)
        _show(opened, name, as_json=as_json)


@app.command()
def rerun(
    execution: Beginning = None,
    reuse: Annotated[bool, typer.Option("--reuse", help="Take earlier results where there are any.")] = False,
    detach: Detach = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Run an execution again from the beginning, with the code and params that it had."""
    with _opened(home) as opened:
        name = _resolved(opened, execution)
        with opened.database.transaction() as tx:
            again = engine.rerun(tx, opened.engine, name, by=actor(), fresh=not reuse)
        if not detach:
            execute(opened, again)
        _show(opened, again, as_json=as_json)


@app.command()
def why(
    step: Annotated[str, typer.Argument(help="The step, e.g. `clean[3]`.")],
    execution: Annotated[str | None, typer.Option("--execution", help="The execution; the newest by default.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Why a step ran, was reused, skipped or failed, or what it waits for."""
    with _opened(home) as opened, opened.database.reading() as tx:
        found = why_step(tx, opened.engine, reading.resolve_execution(tx, execution), step)
    show(
        found,
        as_json=as_json,
        render=lambda console: console.print(f"{found.step} is {found.state}: {found.sentence}.", markup=False),
    )


@contextmanager
def _opened(home: Path | None) -> Iterator[PipelineHome]:
    with closing(PipelineHome(Settings.read(home))) as opened:
        yield opened


def _resolved(opened: PipelineHome, execution: str | None) -> str:
    with opened.database.reading() as tx:
        return reading.resolve_execution(tx, execution)


def _show(opened: PipelineHome, execution: str, *, as_json: bool) -> None:
    with opened.database.reading() as tx:
        found = reading.get_execution(tx, execution)
    show(found, as_json=as_json, render=lambda console: print_execution(console, found))
    if found.state == "failed":
        sys.stdout.flush()
        raise typer.Exit(1)
