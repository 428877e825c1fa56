"""`loopline erase`."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from loopline.access.erasure import Removed
from loopline.cli.options import AsJson, Home, Reason, actor, opened
from loopline.cli.output import show, table
from loopline.errors import InvalidInput
from loopline.loop.erasing import Planned, Request, envelope_of, erase, plan_erasure
from loopline.loop.receipt import Receipt, as_json
from loopline.storage.files import write_file

app = typer.Typer(add_completion=False)

INCOMPLETE = 8
_TOGETHER = {"artifact", "file"}


@app.command()
def command(
    subject: Annotated[str, typer.Argument(help="Whom: an id, or COLUMN=ID.")],
    column: Annotated[
        str | None, typer.Option("--column", help="The subject column; all of them by default. Also COLUMN=ID.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only tell what would be removed.")] = False,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", help="A table to leave as it is (a legal hold); with --because.")
    ] = None,
    because: Annotated[str, typer.Option("--because", help="Why tables are kept; the receipt says so.")] = "",
    allow_return: Annotated[
        bool, typer.Option("--allow-return", help="Take rows of the person again when they come.")
    ] = False,
    receipt: Annotated[Path | None, typer.Option("--receipt", help="Write the signed receipt to this file.")] = None,
    home: Home = None,
    reason: Reason = "asked on the command line",
    as_json_: AsJson = False,
) -> None:
    """Erase a person from the whole home, search every file for what is left, and give a signed receipt.

    It can be killed at any point and called again. `loopline up` may go on running.
    """
    resources = opened(home)
    request = _request(subject, column, reason, keep or [], because, allow_return=allow_return)
    if plan:
        planned = plan_erasure(resources, request)
        show(planned, as_json=as_json_, render=lambda console: _print_plan(console, planned))
        return
    done = erase(resources, request, progress=_progress())
    if receipt is not None:
        write_file(receipt, envelope_of(resources, done.erasure))
    show(as_json(done), as_json=as_json_, render=lambda console: _print_receipt(console, done))
    if not done.complete:
        raise typer.Exit(INCOMPLETE)


def _request(
    subject: str, column: str | None, reason: str, keep: list[str], because: str, *, allow_return: bool
) -> Request:
    named, separator, value = subject.partition("=")
    if separator and column is None:
        column, subject = named, value
    elif column is not None and "=" in column:
        column = column.partition("=")[0]
    if keep and not because:
        raise InvalidInput(
            "erasure.no_because", "a table is kept for a reason", remedy='Say it: --because "legal hold until 2030".'
        )
    return Request(
        value=subject,
        column=column,
        reason=reason,
        actor=actor(),
        keep=dict.fromkeys(keep, because),
        allow_return=allow_return,
    )


def _progress() -> Any:
    console = Console(stderr=True)
    return (lambda what: console.print(f"[dim]{what} ...[/]")) if sys.stderr.isatty() else (lambda _: None)


def _print_plan(console: Console, planned: Planned) -> None:
    rows = _lines(planned.removes)
    columns = ", ".join(planned.columns)
    console.print(f"{planned.pseudonym}, looked for in {columns}. Nothing was changed. `loopline erase` would remove:")
    console.print(table("Would be removed", ["place", "what", "count"], rows) if rows else "Nothing: nothing is held.")
    _print_models(console, planned.models)
    for one in planned.kept:
        console.print(f"{one.table} would be kept: {one.because}")


def _print_receipt(console: Console, done: Receipt) -> None:
    console.print(f"{done.pseudonym} is erased ({done.erasure}).")
    console.print(table("Removed", ["place", "what", "count"], _lines(done.removed)))
    for kept in done.kept:
        console.print(f"{kept.table} was kept: {kept.because}")
    _print_models(console, done.models)
    told = f"{done.searched.files} files, {done.searched.bytes:,} bytes, were searched for {done.searched.texts} texts"
    console.print(f"{told}: {'nothing is left' if done.complete else '[red]something is left[/]'}.")
    for left in done.searched.left:
        console.print(f"[red]left[/] {left.path}: {left.count}", soft_wrap=True)
    for limit in done.limits:
        console.print(f"[dim]{limit}[/]")
    blocked = "Rows of this person that come later are dropped." if done.blocked else "This person may come back."
    console.print(blocked)


def _lines(removed: list[Removed]) -> list[tuple[str, str, int]]:
    """Place, what, and how many; artifacts and files together."""
    counts: Counter[tuple[str, str]] = Counter()
    for one in removed:
        kind, _, name = one.place.partition(" ")
        counts[kind if kind in _TOGETHER and name else one.place, one.what] += one.count
    return [(place, what, count) for (place, what), count in counts.items()]


def _print_models(console: Console, models: list[Any]) -> None:
    rows = [(f"{one.model}:{one.version}", one.project, one.as_of[:16], "yes" if one.serves else "") for one in models]
    if rows:
        console.print(table("Trained on their rows: retrain", ["model", "project", "as of", "serves"], rows))
