"""Whether what runs here is alive, asked from outside of it."""

from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from loopline.config import Settings
from loopline.errors import NotFound, Unavailable
from loopline.loop.heartbeat import Heartbeat, heartbeats
from loopline.storage.database import Database


def alive(settings: Settings, *, within: timedelta, now: datetime) -> list[Heartbeat]:
    """The last sign of life of each loop, all of them well within `within` of `now` (the machine's time).

    Raises `Unavailable` "alive.silent" where one is not, or none ever was; `NotFound` without a database. Nothing is written.
    """
    url = sa.make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise NotFound("alive.no_database", f"there is no database at {url.database}", remedy="Give --home.")
    database = Database.open(settings.database_url)
    try:
        with database.reading() as tx:
            found = heartbeats(tx)
    except sa.exc.SQLAlchemyError as error:
        raise Unavailable(
            "alive.unreadable", f"the database cannot be read: {error}", remedy="Look at the database first."
        ) from error
    finally:
        database.close()
    silent = [told for one in found if (told := _silent(one, within, now))]
    if silent or not found:
        raise Unavailable(
            "alive.silent",
            "; ".join(silent) or "no loop was ever in operation here",
            remedy="See whether `loopline up` runs, and what it logs.",
        )
    return found


def _silent(one: Heartbeat, within: timedelta, now: datetime) -> str:
    """Why it does not count as alive; a sign from the future is one of a clock that was set back."""
    if one.well_at is None:
        return f"{one.loop} was never well: {one.sentence}"
    if abs(now - one.well_at) > within:
        return f"{one.loop} was well last at {one.well_at:%Y-%m-%d %H:%M} UTC: {one.sentence}"
    return ""
