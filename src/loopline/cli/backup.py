"""`loopline backup`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loopline.app.backup.backup import backup
from loopline.app.backup.manifest import Manifest
from loopline.app.backup.restore import verify
from loopline.app.home import open_home
from loopline.cli.options import AsJson, Home, existing
from loopline.cli.output import show
from loopline.cli.restore import summary
from loopline.errors import InvalidInput

app = typer.Typer(add_completion=False)


@app.command()
def command(
    to: Annotated[Path, typer.Argument(help="A folder that is not there yet, or is empty.")],
    check: Annotated[
        bool, typer.Option("--check", help="Make none: read every byte of the one that is there.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Back a home up, while everything goes on: database, tables, artifacts, spools, keys, replays.

    It appears whole, or not at all. It holds the home's private keys: keep it as secret as the home.
    """
    if check:
        found = verify(to)
        show(summary(found), as_json=as_json, render=lambda console: _print(console, found, f"{to} is whole"))
        return
    settings = existing(home)
    if to.absolute().is_relative_to(settings.home):
        raise InvalidInput(
            "backup.inside_home", f"{to} is inside of the home", remedy="Back up to another place, best another disk."
        )
    made = backup(settings, lambda one: open_home(one, silent=True), to)
    show(summary(made), as_json=as_json, render=lambda console: _print(console, made, f"Backed up to {to}"))


def _print(console: Console, made: Manifest, headline: str) -> None:
    console.print(f"{headline}: {len(made.files):,} files, {made.size / 1e6:,.1f} MB, {len(made.tables)} tables.")
    for name, head in made.ledgers.items():
        console.print(f"  ledger of {name}: {head.seq} entries, {head.digest}")
