"""A home opened to be operated: with the real clock, or, where it holds a replay, with one that goes on from the replay's end."""

from collections.abc import Callable
from contextlib import closing
from datetime import datetime

from loopline.app.home import open_home
from loopline.app.home_clock import HomeClock
from loopline.config import Settings
from loopline.loop.resources import Resources


def open_going_on(
    settings: Settings, ended: Callable[[Resources], datetime | None]
) -> tuple[Resources, datetime | None]:
    """The home, and where its clock stands if it goes on from a replay, which `ended` tells (UTC). Raises as `open_home`."""
    resources = open_home(settings)
    until = ended(resources)
    if until is None:
        return resources, None
    with closing(resources.database):
        clock = HomeClock(settings.home, until)
        return open_home(settings, clock=clock), clock.now()
