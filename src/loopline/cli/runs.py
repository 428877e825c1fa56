"""`loopline runs`."""

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from loopline.cli.options import AsJson, Home
from loopline.cli.output import show, table
from loopline.config import Settings
from loopline.errors import InvalidInput, NotFound
from loopline.runs import tracking
from loopline.runs.comparison import Line, RunComparison, compare_runs
from loopline.runs.home import RunHome
from loopline.runs.recovery import recover, stale
from loopline.runs.run import Run
from loopline.storage.database import Transaction
from loopline.values import duration_text

app = typer.Typer(add_completion=False)

_BARS = "▁▂▃▄▅▆▇█"
_WIDE = 40
_SHOWN = 4
Project = Annotated[str | None, typer.Option("--project", help="Only this project.")]
Experiment = Annotated[str | None, typer.Option("--experiment", help="Only this experiment.")]
By = Annotated[str, typer.Option("--by", help="started_at, ended_at or metrics.NAME; - before it for descending.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many.")]


@app.callback(invoke_without_command=True)
def runs(
    context: typer.Context,
    home: Home = None,
    project: Project = None,
    experiment: Experiment = None,
    by: By = "-started_at",
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Runs that were tracked. Without a further word: list them."""
    if context.invoked_subcommand is None:
        list_runs(home, project, experiment, by, limit, as_json)


@app.command(name="list")
def list_runs(
    home: Home = None,
    project: Project = None,
    experiment: Experiment = None,
    by: By = "-started_at",
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    opened = _opened(home)
    found = _search(opened, project, experiment, by, limit)
    gone = stale(opened.journals)
    value = [msgspec.to_builtins(run) | {"stale": _is_stale(run, gone)} for run in found]
    show(value, as_json=as_json, render=lambda console: _print_list(console, found, gone))


@app.command(name="show")
def show_run(
    run: Annotated[str | None, typer.Argument(help="The run's id, or its beginning; the newest by default.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Everything that was logged about one run, with a curve of each metric."""
    opened = _opened(home)
    with opened.database().reading() as tx:
        found = tracking.get(tx, tracking.resolve(tx, run) if run else _newest(tx))
    gone = _is_stale(found, stale(opened.journals))
    value = msgspec.to_builtins(found) | {"stale": gone}
    show(value, as_json=as_json, render=lambda console: _print_run(console, found, stale=gone))


@app.command(name="compare")
def compare(
    ids: Annotated[list[str] | None, typer.Argument(help="Two or more runs; the newest ones by default.")] = None,
    home: Home = None,
    project: Project = None,
    experiment: Experiment = None,
    by: By = "-started_at",
    limit: Limit = 5,
    as_json: AsJson = False,
) -> None:
    """Runs side by side: the params in which they differ, and their metrics, the best marked."""
    opened = _opened(home)
    if ids:
        with opened.database().reading() as tx:
            found = [tracking.get(tx, tracking.resolve(tx, one)) for one in ids]
    else:
        found = _search(opened, project, experiment, by, limit)
    if not found:
        raise InvalidInput("runs.nothing", "there are no runs to compare", remedy="`loopline runs` lists them.")
    made = compare_runs(found)
    show(made, as_json=as_json, render=lambda console: _print_comparison(console, made, found))


@app.command(name="artifact")
def artifact(
    run: Annotated[str, typer.Argument(help="The run's id, or its beginning.")],
    name: Annotated[str, typer.Argument(help="The artifact, e.g. stdout.txt.")],
    out: Annotated[Path, typer.Option("--out", help="Where to write it; by its own name by default.")] = Path(),
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Write an artifact of a run to a file; never over another one."""
    opened = _opened(home)
    with opened.database().reading() as tx:
        found = tracking.get(tx, tracking.resolve(tx, run))
    if name not in found.artifacts:
        known = ", ".join(found.artifacts) or "none"
        raise NotFound("runs.no_artifact", f"{found.run_id} has no artifact {name!r}", remedy=f"It has: {known}.")
    path = out / Path(name).name if out.is_dir() else out
    content = opened.artifacts.get(found.artifacts[name])
    try:
        with path.open("xb") as file:
            file.write(content)
    except OSError as problem:
        raise InvalidInput(
            "runs.not_written", f"cannot write {path}: {problem.strerror}", remedy="Say another file with --out."
        ) from problem
    show({"path": str(path), "bytes": len(content)}, as_json=as_json, render=lambda console: console.print(str(path)))


def _opened(home: Any) -> RunHome:
    settings = Settings.read(home)
    if settings.database_url.startswith("sqlite:///") and not (settings.home / "loopline.db").exists():
        raise NotFound(
            "runs.no_home",
            f"there are no runs at {settings.home}",
            remedy="Give --home, or log one: `loopline track -- python train.py`, or ll.track(...) in a script.",
        )
    opened = RunHome(settings)
    recover(opened.database(), opened.journals)
    return opened


def _search(home: RunHome, project: str | None, experiment: str | None, by: str, limit: int) -> list[Run]:
    with home.database().reading() as tx:
        return tracking.search(tx, project, experiment, order_by=by, limit=limit, history=False)


def _newest(tx: Transaction) -> str:
    found = tracking.search(tx, None, limit=1, history=False)
    if not found:
        raise NotFound("runs.none", "there are no runs yet", remedy="Log one: loopline track -- python train.py")
    return found[0].run_id


def _is_stale(run: Run, gone: set[str]) -> bool:
    return run.status == "running" and run.run_id in gone


def _print_list(console: Console, found: list[Run], gone: set[str]) -> None:
    if not found:
        console.print("No runs yet.")
        return
    rows = [
        (
            run.run_id,
            run.experiment,
            "stale" if _is_stale(run, gone) else run.status,
            run.started_at,
            _took(run),
            _few({name: _number(value) for name, value in run.metrics.items()}),
        )
        for run in found
    ]
    console.print(table("Runs", ["run", "experiment", "status", "started (UTC)", "took", "metrics"], rows))
    console.print("`loopline runs show ID` tells all of one, `loopline runs compare ID ID` compares.", style="dim")


def _print_run(console: Console, run: Run, *, stale: bool) -> None:
    state = "running, but its process is gone (stale)" if stale else run.status
    console.print(Text(run.run_id, style="bold"), Text(f"{run.project}/{run.experiment}: {state}"))
    console.print(f"started {_moment(run.started_at)}, took {_took(run)}")
    if run.parent:
        console.print(f"part of {run.parent}")
    if run.params:
        console.print(table("Params", ["name", "value"], run.params.items()))
    if run.metrics:
        console.print(table("Metrics", ["name", "last", "least", "most", "steps", "curve"], _curves(run)))
    if run.inputs:
        console.print(
            table("Read", ["kind", "name", "version"], [(i.kind, i.name, i.version[:19]) for i in run.inputs])
        )
    if run.artifacts:
        console.print(table("Artifacts", ["name", "digest"], [(n, d[:19]) for n, d in run.artifacts.items()]))
    if run.facts:
        told = [(name, _fact(value)) for name, value in run.facts.items()]
        console.print(table("How it ran", ["name", "value"], told))


def _curves(run: Run) -> list[tuple[Any, ...]]:
    rows = []
    for name, last in run.metrics.items():
        values = [metric.value for metric in run.history if metric.name == name]
        known = [value for value in values if math.isfinite(value)]
        least, most = (min(known), max(known)) if known else (None, None)
        rows.append((name, last, least, most, len(values), sparkline(values)))
    return rows


def sparkline(values: Sequence[float], width: int = _WIDE) -> str:
    """The values as a line of bars at most `width` wide: means of equal stretches; what is not finite is a blank."""
    count = min(width, len(values))
    parts = [values[place * len(values) // count : (place + 1) * len(values) // count] for place in range(count)]
    known = [[value for value in part if math.isfinite(value)] for part in parts]
    means = [math.fsum(value / len(part) for value in part) if part else math.nan for part in known]
    finite = [mean for mean in means if math.isfinite(mean)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    return "".join(_bar(mean, low, high) for mean in means)


def _bar(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return " "
    share = (value / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.5
    return _BARS[min(int(share * len(_BARS)), len(_BARS) - 1)]


def _print_comparison(console: Console, made: RunComparison, found: list[Run]) -> None:
    short = [run_id[:12] for run_id in made.runs]
    about = [("experiment", *(run.experiment for run in found)), ("status", *(run.status for run in found))]
    params = [(line.name, *(_fact(value) for value in line.values)) for line in made.params]
    metrics = [(f"{line.name}{_direction(line)}", *_marked(line)) for line in made.metrics]
    console.print(table("Runs", ["", *short], about))
    console.print(table("Params that differ", ["name", *short], params) if params else "All params are equal.")
    if metrics:
        console.print(table("Metrics", ["name", *short], metrics))
        console.print("* best of its row; ↓ lower is better, ↑ higher is, by the metric's name.", style="dim")


def _direction(line: Line) -> str:
    return {"lower": " ↓", "higher": " ↑", None: ""}[line.better]


def _marked(line: Line) -> list[str]:
    return [f"{_number(value)}{' *' if place in line.best else ''}" for place, value in enumerate(line.values)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _few(values: dict[str, str]) -> str:
    shown = [f"{name}={value}" for name, value in list(values.items())[:_SHOWN]]
    return " ".join([*shown, *(["..."] if len(values) > _SHOWN else [])])


def _fact(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or "-"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return " ".join(value)
    return msgspec.json.encode(value).decode()


def _took(run: Run) -> str:
    if run.ended_at is None:
        return "-"
    seconds = (run.ended_at - run.started_at).total_seconds()
    return f"{seconds:.1f}s" if seconds < 60 else duration_text(run.ended_at - run.started_at)  # noqa: PLR2004 - a minute


def _moment(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC"
