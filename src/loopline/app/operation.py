"""What `up` begins: a loop with its pipelines, or pipelines alone; and what both need."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import msgspec

from loopline.access.logins import one_time_login
from loopline.access.principals import create_principal, get_principal
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.errors import Conflict, NotFound
from loopline.loop.resources import Resources
from loopline.scoring.spool_folder import Lock

LOGIN_VALID = timedelta(minutes=15)
OWNER = "owner"


class Addresses(msgspec.Struct, frozen=True):
    """Where things answer; `login` opens the control plane once. `continues` is where the clock stands in a replay's home.

    `scoring` is empty where no loop is in operation.
    """

    control: str
    scoring: str
    login: str
    continues: datetime | None


class Operation(Protocol):
    """A home in operation. `start` returns once requests are answered; `run` blocks until a signal ends it."""

    def start(self) -> Addresses:
        """Begin."""

    def run(self) -> None:
        """Go on until a signal, and stop in order."""


def operation(settings: Settings, file: Path | None, *, begin: datetime | None = None) -> Operation:
    """That of the loop in `file`, or without one that of the home's pipelines. Raises as `Up`, `PipelinesUp` and `load_loop`."""
    if file is None:
        from loopline.app.up_pipelines import PipelinesUp  # noqa: PLC0415 - it needs none of what trains and scores

        return PipelinesUp(settings)
    from loopline.app.up import Up  # noqa: PLC0415 - as above
    from loopline.loop.load import load_loop  # noqa: PLC0415 - as above

    return Up(settings, load_loop(file), begin=begin)


def claim(settings: Settings) -> Lock:
    """The right to operate this home, until it is closed: two would take each turn twice. Raises `Conflict` "up.running"."""
    settings.home.mkdir(parents=True, exist_ok=True)
    try:
        return Lock(settings.home / "up.lock")
    except Conflict as taken:
        raise Conflict(
            "up.running",
            f"`loopline up` runs on {settings.home} already",
            remedy="Stop it first, or give this one another --home.",
        ) from taken


def login(resources: Resources) -> str:
    """A secret that logs the owner in once."""
    now = SystemClock().now()
    with resources.database.transaction() as tx:
        try:
            get_principal(tx, OWNER)
        except NotFound:
            create_principal(tx, OWNER, "person", ["admin"], now)
        return one_time_login(tx, OWNER, now, LOGIN_VALID)
