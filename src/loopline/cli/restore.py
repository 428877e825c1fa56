"""`loopline restore`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from loopline.app.backup.manifest import Manifest
from loopline.app.backup.restore import restore
from loopline.cli.options import AsJson
from loopline.cli.output import show
from loopline.config import Settings

app = typer.Typer(add_completion=False)


@app.command()
def command(
    source: Annotated[Path, typer.Argument(help="The folder that `loopline backup` made.")],
    home: Annotated[Path, typer.Option("--home", help="The new home: not there yet, or empty.")],
    as_json: AsJson = False,
) -> None:
    """Make a new home out of a backup. Every byte is checked; nothing is ever written over.

    A database, tables and artifacts elsewhere come from LOOPLINE_DATABASE_URL, LOOPLINE_TABLES_URL and LOOPLINE_ARTIFACTS_URL,
    which must name empty places.
    """
    made = restore(source, Settings.read(home))
    show(summary(made), as_json=as_json, render=lambda console: _print(console, made, home))


def summary(made: Manifest) -> dict[str, Any]:
    """What is printed of a backup: all but its files."""
    return {
        "made_at": made.made_at,
        "loopline": made.loopline,
        "database": made.database,
        "files": len(made.files),
        "bytes": made.size,
        "tables": made.tables,
        "ledgers": made.ledgers,
        "digest": made.digest,
    }


def _print(console: Console, made: Manifest, home: Path) -> None:
    console.print(f"Restored the backup of {made.made_at:%Y-%m-%d %H:%M} UTC to {home}: {len(made.files):,} files.")
    console.print("The old home must not run any more: both would act. Then:")
    console.print(f"  loopline status --home {home}")
    console.print(f"  loopline up FILE --home {home}")
