"""Options and arguments that commands share."""

import getpass
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from loopline.access.identity import Identity
from loopline.access.permissions import Permission
from loopline.app.home import open_home
from loopline.app.home_clock import HomeClock, replay_ended
from loopline.config import Settings
from loopline.errors import InvalidInput, NotFound
from loopline.loop.resources import Resources

Home = Annotated[
    Path | None, typer.Option("--home", help="The home to work on; LOOPLINE_HOME or .loopline by default.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LoopFile = Annotated[Path, typer.Argument(help="The loop file.")]
Project = Annotated[str | None, typer.Option("--project", help="The project; needed where the home has several.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it goes into the ledger.")]


def opened(home: Path | None, *, must_exist: bool = True) -> Resources:
    """The home, opened; one that holds a replay goes on from the replay's end. Raises `NotFound` where there is none and
    one is needed, and `InvalidInput` for a path that can be none.
    """
    settings = Settings.read(home)
    if settings.home.exists() and not settings.home.is_dir():
        raise InvalidInput("home.not_a_folder", f"{settings.home} is not a folder", remedy="Give --home a folder.")
    if must_exist and not settings.keys_path.exists():
        raise NotFound(
            "home.not_found",
            f"there is no home at {settings.home}",
            remedy="Give --home, or make one with `loopline apply FILE` or `loopline replay FILE`.",
        )
    resources = open_home(settings)
    ended = replay_ended(resources)
    return resources if ended is None else replace(resources, clock=HomeClock(settings.home, ended))


def operator() -> Identity:
    """Whoever can open a home's files may do all with it; the ledger says who it was."""
    return Identity(actor(), frozenset(Permission), "local")


def actor() -> str:
    """Who acts on the command line: the user of this machine."""
    return f"local:{getpass.getuser()}"
