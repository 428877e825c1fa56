"""Options and arguments that commands share."""

import getpass
from pathlib import Path
from typing import Annotated

import typer

from loopline.access.identity import Identity
from loopline.access.permissions import Permission
from loopline.app.home import open_home
from loopline.config import Settings
from loopline.errors import NotFound
from loopline.loop.resources import Resources

Home = Annotated[
    Path | None, typer.Option("--home", help="The home to work on; LOOPLINE_HOME or .loopline by default.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LoopFile = Annotated[Path, typer.Argument(help="The loop file.")]
Project = Annotated[str | None, typer.Option("--project", help="The project; needed where the home has several.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it goes into the ledger.")]


def opened(home: Path | None, *, must_exist: bool = True) -> Resources:
    """The home, opened. Raises `NotFound` where there is none and one is needed."""
    settings = Settings.read(home)
    if must_exist and not settings.home.exists():
        raise NotFound(
            "home.not_found",
            f"there is no home at {settings.home}",
            remedy="Give --home, or make one with `loopline apply FILE` or `loopline replay FILE`.",
        )
    return open_home(settings)


def operator() -> Identity:
    """Whoever can open a home's files may do all with it; the ledger says who it was."""
    return Identity(actor(), frozenset(Permission), "local")


def actor() -> str:
    """Who acts on the command line: the user of this machine."""
    return f"local:{getpass.getuser()}"
