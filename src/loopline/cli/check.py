"""`loopline check`."""

import sys
from pathlib import Path
from typing import Annotated, Literal, Self

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from loopline.app.checking.check import check
from loopline.app.checking.check_report import CheckReport
from loopline.app.checking.terminal import check_text
from loopline.app.checking.write import write_report
from loopline.cli.options import AsJson
from loopline.cli.output import show
from loopline.clock import SystemClock
from loopline.tables.proposal.finding import at_least

app = typer.Typer(add_completion=False)

FOUND = 10
_MOST_COLUMNS = 30


@app.command()
def command(
    data: Annotated[
        str, typer.Argument(help="A file, a folder, or a pattern in quotes: CSV, Parquet, JSON lines, spreadsheet.")
    ],
    label: Annotated[
        str | None, typer.Option("--label", help="The column to be predicted: look for leaks and bias.")
    ] = None,
    by: Annotated[
        list[str] | None, typer.Option("--by", help="Groups to compare by; by default columns such as sex or age.")
    ] = None,
    compare: Annotated[str | None, typer.Option("--compare", help="Other data: what changed?")] = None,
    rows: Annotated[
        int | None,
        typer.Option("--rows", min=0, help="Look at so many rows at most; 0: all. By default some million cells."),
    ] = None,
    fail_on: Annotated[
        Literal["error", "warning", "note"] | None,
        typer.Option("--fail-on", help=f"Exit with {FOUND} if anything as grave as this was found."),
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write an HTML report here.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the proposed source alone, to paste.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look at data that nobody has described: types, faults, personal values, a schema to paste; leaks, bias and drift if asked."""
    with _Steps() as steps:
        made = check(
            data, now=SystemClock().now(), label=label, by=by or [], compare=compare, rows=rows, step=steps.show
        )
    if report is not None:
        write_report(made, report)
    if schema and not as_json:
        sys.stdout.write(f"{made.schema}\n")
    else:
        show(made, as_json=as_json, render=lambda console: _print(console, made, report))
    if fail_on is not None and at_least(made.findings, fail_on):
        raise typer.Exit(FOUND)


class _Steps:
    """What is being done, on standard error, for terminals only."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = [SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()]
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, name: str) -> None:
        """Say what is begun."""
        self._progress.update(self._task, description=name)


def _print(console: Console, made: CheckReport, report: Path | None) -> None:
    console.print(check_text(made))
    if len(made.columns) <= _MOST_COLUMNS:
        console.print("\n[bold]A source to paste[/], after `loop = ll.Loop(...)`; what you must decide says so:")
        console.print(made.schema, markup=False, soft_wrap=True)
    console.print("\n[bold]What next:[/]")
    quoted = f'"{made.where}"' if any(sign in made.where for sign in " *?[") else made.where
    if made.label is None:
        console.print(f"  loopline check {quoted} --label COLUMN", markup=False, soft_wrap=True)
    console.print(f"  loopline check {quoted} --schema    the proposed source, to paste", markup=False, soft_wrap=True)
    label = f" --label {made.label.column}" if made.label else " --label COLUMN"
    console.print(f"  loopline init FOLDER --from {quoted}{label}    a loop that runs", markup=False, soft_wrap=True)
    if report is not None:
        console.print(f"Report: {report}", markup=False, soft_wrap=True)
