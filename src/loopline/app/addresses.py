"""Where a home in operation answers, and the way in."""

from datetime import datetime, timedelta

import msgspec

from loopline.access.logins import one_time_login
from loopline.access.principals import create_principal, get_principal
from loopline.clock import SystemClock
from loopline.errors import NotFound
from loopline.loop.resources import Resources

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


def login(resources: Resources) -> str:
    """A secret that logs the owner in once."""
    now = SystemClock().now()
    with resources.database.transaction() as tx:
        try:
            get_principal(tx, OWNER)
        except NotFound:
            create_principal(tx, OWNER, "person", ["admin"], now)
        return one_time_login(tx, OWNER, now, LOGIN_VALID)
