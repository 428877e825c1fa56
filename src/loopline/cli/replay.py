"""`loopline replay`."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from loopline.app.crew import executor_as, with_executor
from loopline.app.replays import Result, run_replay
from loopline.app.report.terminal import report_text
from loopline.cli.options import AsJson, Cores, Executor, LoopFile
from loopline.cli.output import show
from loopline.config import Settings
from loopline.loop.load import load_loop
from loopline.loop.replay import Period
from loopline.loop.replay import Progress as ReplayProgress
from loopline.values import Window

app = typer.Typer(add_completion=False)

Day = Annotated[datetime, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"])]


@app.command()
def command(
    file: LoopFile,
    start: Annotated[
        datetime, typer.Option("--from", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"], help="From this moment on (UTC).")
    ],
    until: Annotated[
        datetime,
        typer.Option(
            "--until", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"], help="Up to this moment (UTC); a day is its midnight."
        ),
    ],
    home: Annotated[
        Path | None, typer.Option("--home", help="The replay's own home; HOME/replays/LOOP by default.")
    ] = None,
    database: Annotated[
        str,
        typer.Option("--database", help="Another database for the replay, e.g. postgresql://...; never the real one."),
    ] = "",
    seed: Annotated[int, typer.Option("--seed", help="What all chance derives from.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw an earlier replay in this home away.")] = False,
    report: Annotated[Path | None, typer.Option("--report", help="Where to write the HTML report.")] = None,
    choose_until: Annotated[
        datetime | None,
        typer.Option(
            "--choose-until",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"],
            help="Choose the policy that was cheapest until this moment (UTC), by the declared prices, and report it on the rest.",
        ),
    ] = None,
    executor: Executor = None,
    cores: Cores = None,
    as_json: AsJson = False,
) -> None:
    """Run the loop over history, with every policy that the loop file compares, over one shared ingestion.

    A replay that was stopped, or killed, goes on where it was, and ends with the same ledger.
    """
    loop = load_loop(file)
    above = with_executor(Settings.read(), executor, cores)
    own = home or above.home / "replays" / loop.name
    # The environment may name the real database, and a replay must not touch it.
    settings = executor_as(Settings.read(own, environment={"LOOPLINE_DATABASE_URL": database}), above)
    if fresh:
        _remove(settings.home)
    period = Period(start.replace(tzinfo=UTC), until.replace(tzinfo=UTC))
    with _bar(loop.name) as progress:
        results = run_replay(
            settings,
            loop,
            period,
            seed=seed,
            progress=progress,
            report=report,
            choose_until=choose_until.replace(tzinfo=UTC) if choose_until else None,
        )
    show(results, as_json=as_json, render=lambda console: _print(console, results, settings, file))


def _remove(home: Path) -> None:
    if (home / "loopline.db").exists():
        shutil.rmtree(home)


class _bar:  # noqa: N801 - reads as a statement where it is used
    """A progress bar on standard error, for terminals only."""

    def __init__(self, name: str) -> None:
        console = Console(stderr=True)
        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        ]
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task(name, total=None)

    def __enter__(self) -> ReplayProgress:
        self._progress.start()
        return self._move

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _move(self, number: int, turns: int, window: Window) -> None:
        self._progress.update(self._task, completed=number, total=turns, description=f"{window.end:%Y-%m-%d}")


def _print(console: Console, results: list[Result], settings: Settings, file: Path) -> None:
    for result in results:
        console.print(report_text(result.comparison, result.choice))
        console.print(f"Report: {result.report}")
    for assumed in results[0].comparison.assumptions:
        console.print(f"[dim]Assumed: {assumed}.[/]")
    home = _shown(settings.home)
    console.print("\nWhat next:")
    console.print(f"  loopline status --home {home}")
    console.print(f"  loopline incidents --home {home}")
    console.print(f"  loopline ledger verify --home {home}")
    console.print(f"  loopline up {file} --home {home}")


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
