"""Options and arguments that commands share."""

import os
import pwd
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from loopline.access.identity import Identity
from loopline.access.permissions import Permission
from loopline.access.tokens import authenticate
from loopline.app.crew import with_executor
from loopline.app.executor import ExecutorName
from loopline.app.home import open_home
from loopline.app.home_clock import HomeClock, replay_ended
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.errors import InvalidInput, NotAuthenticated, NotFound
from loopline.loop.resources import Resources

Home = Annotated[
    Path | None, typer.Option("--home", help="The home to work on; LOOPLINE_HOME or .loopline by default.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LoopFile = Annotated[Path, typer.Argument(help="The loop file.")]
Project = Annotated[str | None, typer.Option("--project", help="The project; needed where the home has several.")]
Executor = Annotated[
    ExecutorName | None,
    typer.Option(
        "--executor", help="Where fits, trials and parts of batches run; LOOPLINE_EXECUTOR, else in this process."
    ),
]
Cores = Annotated[
    int | None,
    typer.Option(
        "--cores",
        min=1,
        help="How many of them at once; by default as many as this machine, or the cluster, has cores.",
    ),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; it goes into the ledger.")]


def existing(home: Path | None) -> Settings:
    """The settings of a home that must be there. Raises `NotFound` "home.not_found"."""
    settings = Settings.read(home)
    if not (settings.keys_path.exists() or (settings.home / "loopline.db").exists()):  # pipelines alone need no keys
        raise NotFound(
            "home.not_found",
            f"there is no home at {settings.home}",
            remedy="Give --home, or make one with `loopline apply FILE` or `loopline replay FILE`.",
        )
    return settings


def opened(
    home: Path | None, *, must_exist: bool = True, executor: ExecutorName | None = None, cores: int | None = None
) -> Resources:
    """The home, opened; one that holds a replay goes on from the replay's end. Raises `NotFound` where there is none and
    one is needed, and `InvalidInput` for a path that can be none.
    """
    settings = with_executor(Settings.read(home), executor, cores)
    if settings.home.exists() and not settings.home.is_dir():
        raise InvalidInput("home.not_a_folder", f"{settings.home} is not a folder", remedy="Give --home a folder.")
    if must_exist:
        existing(home)
    resources = open_home(settings)
    ended = replay_ended(resources)
    return resources if ended is None else replace(resources, clock=HomeClock(settings.home, ended))


def operator() -> Identity:
    """Whoever can open a home's files may do all with it; the ledger says who it was."""
    return Identity(actor(), frozenset(Permission), "local")


def actor() -> str:
    """Who acts on the command line: the user of this machine, as the system knows it and not as the environment says."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"local:{name}"


def token_holder(resources: Resources) -> Identity:
    """Whose token LOOPLINE_TOKEN is. What takes a role takes a token: anybody can be any user of their own machine.

    Raises `NotAuthenticated`.
    """
    secret = os.environ.get("LOOPLINE_TOKEN")
    if not secret:
        raise NotAuthenticated(
            "cli.no_token", "this takes a token, to know who you are", remedy="Set LOOPLINE_TOKEN to yours."
        )
    with resources.database.reading() as tx:
        return authenticate(tx, secret, SystemClock().now())
