"""The right to operate a home."""

from loopline.config import Settings
from loopline.errors import Conflict
from loopline.scoring.spool_folder import Lock


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
