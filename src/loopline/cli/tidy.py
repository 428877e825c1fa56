"""`loopline tidy`."""

from typing import Annotated

import typer
from rich.console import Console

from loopline.app.home import open_home
from loopline.app.tidy import Tidied, tidy
from loopline.cli.options import AsJson, Home, existing
from loopline.cli.output import show, table

app = typer.Typer(add_completion=False)


@app.command()
def command(
    home: Home = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make small files fewer, and remove what nothing needs any more. `up` does it every day.

    No version of a table, and nothing that a version, a run, the ledger or an erasure needs, is ever removed.
    """
    settings = existing(home)
    done = tidy(settings, open_home(settings, silent=True), dry=dry_run)
    show(done, as_json=as_json, render=lambda console: _print(console, done, dry=dry_run))


def _print(console: Console, done: list[Tidied], *, dry: bool) -> None:
    rows = [(line.place, line.what, line.count, line.why) for line in done]
    if rows:
        console.print(table("Would be done" if dry else "Tidied", ["where", "what", "count", "why"], rows))
    else:
        console.print("There is nothing to tidy up.")
