"""`loopline search`."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console

from loopline.cli.options import AsJson, Cores, Executor, Home, LoopFile, opened
from loopline.cli.output import show, table
from loopline.cli.progress import Bar
from loopline.loop.load import load_loop
from loopline.loop.search_report import SearchReport, search_now
from loopline.runs.searches import Trial

app = typer.Typer(add_completion=False)


@app.command()
def command(
    file: LoopFile,
    model: Annotated[str | None, typer.Option("--model", help="Needed where several declare a search.")] = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=1, help="How many trials there are to be in all; as declared by default."),
    ] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            "--as-of",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"],
            help="On what was known at this moment (UTC); now by default, or as the search that is gone on with.",
        ),
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Begin anew on what is known now.")] = False,
    executor: Executor = None,
    cores: Cores = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Search a model's parameters on the data there is, on folds in order of time. The loop's next training uses what wins.

    Called again, stopped or killed, it goes on with the same search; with a greater --trials it goes further.
    """
    resources, loop = opened(home, executor=executor, cores=cores), load_loop(file)
    moment = as_of.replace(tzinfo=UTC) if as_of else None
    with Bar(model or loop.name) as bar:

        def progress(done: int, total: int, least: float | None) -> None:
            bar.move(done, total, f"trial {done}" + (f", least loss {least:.4f}" if least is not None else ""))

        found = search_now(resources, loop, model=model, as_of=moment, trials=trials, new=new, progress=progress)
    show(found, as_json=as_json, render=lambda console: _print(console, found))


def _print(console: Console, found: SearchReport) -> None:
    names = list(dict.fromkeys(name for trial in found.trials for name in trial.params))
    ordered = sorted(found.trials, key=lambda trial: (trial.loss is None, trial.loss, trial.number))
    columns = ["trial", "loss", *names, "folds", "seconds", "told"]
    told = f"{found.search.model}: {len(found.trials)} trials on {found.rows} rows known at {found.search.as_of:%Y-%m-%d %H:%M}"
    console.print(table(told, columns, [_row(trial, names, found) for trial in ordered]))
    console.print(f"Trial {found.best.number} is used: {found.best.sentence}.", markup=False)
    if found.importance:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in found.importance.items())
        console.print(f"What the loss depends on: {shares}.", markup=False)


def _row(trial: Trial, names: list[str], found: SearchReport) -> list[Any]:
    told = trial.reason or ("used" if trial.number == found.best.number else "declared" if trial.number == 0 else "")
    return [
        trial.number,
        trial.loss,
        *(trial.params.get(name) for name in names),
        len(trial.scores),
        round(trial.seconds, 2),
        told,
    ]
