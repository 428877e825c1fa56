"""`loopline watch`."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loopline.app.alone.page import watch_html
from loopline.app.alone.questions import questions
from loopline.app.alone.series_file import ROWS, SeriesRequest
from loopline.app.alone.watch import as_record, watch_files
from loopline.app.study.answers import Watched
from loopline.app.study.calibration import Prices
from loopline.app.study.columns import Said
from loopline.app.study.fresh import Request
from loopline.cli.answered import print_answered
from loopline.cli.output import show
from loopline.cli.watch_series import answer_series
from loopline.errors import InvalidInput

app = typer.Typer(add_completion=False)

HARM_FOUND = 10

# As in `cli.options`, which would load a home's whole machinery: this command needs none.
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def command(
    file: Annotated[str, typer.Argument(help="The file, as --predictions.", show_default=False)] = "",
    predictions: Annotated[
        str,
        typer.Option(
            "--predictions",
            help="Predictions: a file, a folder, or a pattern in quotes. Parquet, CSV, JSON lines, JSON or Arrow.",
        ),
    ] = "",
    labels: Annotated[
        str | None, typer.Option("--labels", help="Labels, likewise; left out where they stand beside the predictions.")
    ] = None,
    earlier: Annotated[
        str | None, typer.Option("--earlier", help="The earlier model's scores of the same rows, joined by id.")
    ] = None,
    id_: Annotated[str, typer.Option("--id", help="The column that joins the files; several with commas.")] = "",
    at: Annotated[str, typer.Option("--at", help="The column of the prediction's time.")] = "",
    score: Annotated[
        str, typer.Option("--score", help="The column of the score; several (classes, quantiles) with commas.")
    ] = "",
    label: Annotated[str, typer.Option("--label", help="The column of the label.")] = "",
    label_at: Annotated[str, typer.Option("--label-at", help="The column of the time when the label came.")] = "",
    decision: Annotated[str, typer.Option("--decision", help="The column of the decision taken.")] = "",
    version: Annotated[
        str, typer.Option("--version-column", "--version", help="The column of the model's version.")
    ] = "",
    group: Annotated[str, typer.Option("--group", help="The column of the list that a row is ranked in.")] = "",
    judge: Annotated[
        str,
        typer.Option(
            "--judge", help="The column of what a judge says of every row's label, where only some rows have one."
        ),
    ] = "",
    propensity: Annotated[
        str,
        typer.Option(
            "--propensity",
            help="The column of how probably each row's label was asked for; by default by pure chance.",
        ),
    ] = "",
    features: Annotated[
        str,
        typer.Option("--features", help="The columns of features, with commas; by default all that are nothing else."),
    ] = "",
    kind: Annotated[
        str,
        typer.Option(
            "--kind", help="binary, multiclass, regression, quantile or ranking; by default what the labels say."
        ),
    ] = "",
    positive: Annotated[str, typer.Option("--positive", help="Which of two labels is the positive one.")] = "",
    absent: Annotated[
        str, typer.Option("--absent", help="What a label that never comes means: unlabelled, or negative.")
    ] = "unlabelled",
    matures: Annotated[
        str, typer.Option("--matures", help="When a label is due, e.g. 30d; by default learnt from the labels' times.")
    ] = "",
    loss: Annotated[
        str, typer.Option("--loss", help="The loss to watch, e.g. brier; by default that of the kind.")
    ] = "",
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance", help="The rise of the loss that is no harm yet; by default 2 % of the reference's loss."
        ),
    ] = None,
    block: Annotated[
        str, typer.Option("--block", help="The length of a block, e.g. 1d; by default chosen from the data.")
    ] = "",
    reference_until: Annotated[
        str,
        typer.Option(
            "--reference-until",
            help="All was well until this day or time (UTC); by default the first 30 % of the blocks.",
        ),
    ] = "",
    reference_blocks: Annotated[
        int | None, typer.Option("--reference-blocks", help="All was well in so many first blocks.")
    ] = None,
    false_pages: Annotated[
        float | None,
        typer.Option("--false-pages-per-year", help="How many false alarms a year are acceptable; 1 by default."),
    ] = None,
    false_positive: Annotated[
        float | None, typer.Option("--false-positive", help="What a false positive costs.")
    ] = None,
    false_negative: Annotated[
        float | None, typer.Option("--false-negative", help="What a false negative costs.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="The score from which a decision is positive.")
    ] = None,
    monitor: Annotated[
        list[str] | None,
        typer.Option(
            "--monitor",
            help="Try monitors of your own (@ll.monitor) of this FILE.py, or FILE.py:NAME; may be given several times.",
        ),
    ] = None,
    series: Annotated[
        str,
        typer.Option(
            "--series",
            help="Watch a single series of numbers instead: this column of the file, or the number of rows (--series rows --block 1h).",
        ),
    ] = "",
    report: Annotated[Path | None, typer.Option("--report", help="Write the HTML report here.")] = None,
    name: Annotated[str, typer.Option("--name", help="What the model is called.")] = "",
    home: Annotated[
        Path | None,
        typer.Option("--home", help="Keep the result here: later runs go on from it, and alarms become incidents."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Is a model harmed, since when, why, and what would help: from a file of predictions and one of labels.

    Or, with --series, of a file with a column of numbers: has it moved for good, since when, by how much.

    Exits with 10 where harm was found that lasts, or a series moved. With --home and --name each block of time counts once, however often and with
    whatever files this runs: that is how a cron job uses it.
    """
    _check_report(report)
    predictions = _one_file(file, predictions)
    if series:
        _only_of_series(
            labels=labels,
            earlier=earlier,
            id=id_,
            score=score,
            label=label,
            label_at=label_at,
            decision=decision,
            version_column=version,
            group=group,
            judge=judge,
            propensity=propensity,
            features=features,
            kind=kind,
            positive=positive,
            matures=matures,
            loss=loss,
            tolerance=tolerance,
            reference_until=reference_until,
            reference_blocks=reference_blocks,
            false_positive=false_positive,
            false_negative=false_negative,
            threshold=threshold,
            monitor=monitor,
        )
        asked = SeriesRequest(
            predictions, series, name or (Path(predictions).stem if series == ROWS else series), at, block, false_pages
        )
        if answer_series(asked, home, report, as_json=as_json):
            raise typer.Exit(HARM_FOUND)
        return
    said = Said(
        _names(id_), at, _names(score), label, label_at, decision, version, group, _names(features), judge, propensity
    )
    request = Request(
        predictions=predictions,
        labels=labels,
        earlier=earlier,
        name=name or Path(predictions).stem.strip("*") or "model",
        said=said,
        kind=kind,
        positive=positive,
        loss=loss,
        absent=absent,
        matures=matures,
        block=block,
        tolerance=tolerance,
        reference_until=reference_until,
        reference_blocks=reference_blocks,
        false_pages_per_year=1.0 if false_pages is None else false_pages,
        prices=_prices(false_positive, false_negative, threshold),
        monitors=tuple(monitor or ()),
    )
    _check_kept(request, home)
    with _bar() as progress:
        watched = watch_files(request, progress) if home is None else _in_home(home)(request, progress)
    if report is not None:
        report.write_text(watch_html(watched), encoding="utf-8")
        report.with_suffix(".json").write_bytes(as_record(request, watched))
    show(watched, as_json=as_json, render=lambda console: _print(console, watched, report, home))
    if watched.harmed:
        raise typer.Exit(HARM_FOUND)


def _only_of_series(**given: object) -> None:
    """What is of models only is not passed over in silence."""
    odd = [f"--{name.replace('_', '-')}" for name, value in given.items() if value not in (None, "", [])]
    if odd:
        raise InvalidInput(
            "alone.series_options",
            f"{', '.join(odd)}: a single series has none of this",
            remedy="With --series only --at, --block, --false-pages-per-year, --name, --home and --report count.",
        )


def _one_file(file: str, predictions: str) -> str:
    if bool(file) == bool(predictions):
        raise InvalidInput(
            "alone.which_file",
            f"{file} and --predictions {predictions} name two files" if file else "no file is named to watch",
            remedy="Write loopline watch predictions.parquet --labels labels.csv, or loopline watch metric.csv --series sales.",
        )
    return file or predictions


def _check_report(report: Path | None) -> None:
    """Said before the work, not after it."""
    if report is not None and (report.is_dir() or not report.resolve().parent.is_dir()):
        raise InvalidInput(
            "alone.report_folder", f"{report} cannot be written", remedy="Give --report a file in a folder that exists."
        )


def _check_kept(request: Request, home: Path | None) -> None:
    """Monitors of the user's own are kept by loops only."""
    if request.monitors and home is not None:
        raise InvalidInput(
            "alone.monitors_not_kept",
            "--monitor tries monitors on files, and --home keeps none of them",
            remedy="Leave --home out to try them; list them in watch= of a loop to have them run.",
        )


def _in_home(home: Path) -> Callable[[Request, Any], Watched]:
    """A home's whole machinery is loaded only where there is one."""
    return partial(import_module("loopline.app.alone.keep").watch_in_home, home)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _prices(false_positive: float | None, false_negative: float | None, threshold: float | None) -> Prices | None:
    if false_positive is None and false_negative is None and threshold is None:
        return None
    if not false_positive or not false_negative or min(false_positive, false_negative) <= 0:
        raise InvalidInput(
            "alone.costs",
            "costs need a price for both mistakes, above 0",
            remedy="Give --false-positive and --false-negative, e.g. 1 and 4.",
        )
    return Prices(false_positive, false_negative, threshold)


class _bar:  # noqa: N801 - reads as a statement where it is used
    """A progress bar on standard error, for terminals only."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = [TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()]
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._task = self._progress.add_task("files", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, step: str, steps: int) -> None:
        self._progress.update(self._task, advance=1, total=steps, description=step[:24])


def _print(console: Console, watched: Watched, report: Path | None, home: Path | None) -> None:
    colour = {"harm": "bold red", "harm_ended": "bold yellow", "fine": "bold green"}[watched.verdict]
    console.print(watched.headline, style=colour, markup=False)
    asked = ((question, sentences) for _, question, sentences in questions(watched))
    print_answered(console, asked, report, _next(watched, report, home))


def _next(watched: Watched, report: Path | None, home: Path | None) -> list[str]:
    if home is not None:
        return [f"loopline incidents --home {home}", f"loopline status --home {home}"]
    same = "loopline watch ... (as before)"
    lines = [] if report else [f"{same} --report report.html    pictures and tables"]
    if watched.setup.timed:
        lines.append(
            f"{same} --home watched --name {watched.name}    again every day: each block counts once, alarms become incidents"
        )
    return lines
