"""The machine: space, clock, ports, and what was built for it."""

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta

import sqlalchemy as sa

from loopline import native
from loopline.app.doctor.finding import Examined, Finding
from loopline.app.ports import check_port
from loopline.errors import Conflict
from loopline.ledger import chain
from loopline.values import utc

GIB = 1 << 30
SCARCE, LOW = GIB // 4, 2 * GIB  # bytes
_APART = timedelta(seconds=5)


def check(one: Examined) -> Iterator[Finding]:
    """Space for what is acknowledged, time that goes forward, ports that are free, the libraries in C."""
    yield from _space(one)
    yield from _clock(one)
    yield from _libraries()
    if not one.running:
        yield from _ports(one)


def _space(one: Examined) -> Iterator[Finding]:
    free = shutil.disk_usage(one.settings.home).free
    if free < LOW:
        yield Finding(
            "disk.low",
            "error" if free < SCARCE else "warning",
            f"{free / GIB:.2f} GiB are free on the disk of {one.settings.home}",
            "When it is full, requests are refused with spool.full and no turn is taken; nothing that was acknowledged is lost.",
            "Make room, see what `loopline tidy --dry-run` would remove, or move the home to a larger disk.",
        )


def _clock(one: Examined) -> Iterator[Finding]:
    if one.database is None:
        return
    with one.database.reading() as tx:
        last = max((entry.at for name in chain.projects(tx) for entry in _last(tx, name)), default=None)
        there = _time_of_server(tx)
    if last is not None and last > one.now + _APART:
        yield Finding(
            "clock.went_back",
            "error",
            f"the newest entry of a ledger is of {last:%Y-%m-%d %H:%M:%S} UTC, and this machine's clock shows {one.now:%Y-%m-%d %H:%M:%S}",
            "The clock went back, or was ahead when the entry was written. Windows and schedules wait until it has caught up.",
            "Set the clock (NTP). If it was ahead for long, restore a backup of before, or wait.",
        )
    if there is not None and abs(there - one.now) > _APART:
        yield Finding(
            "clock.differs",
            "warning",
            f"the database server's clock differs by {abs((there - one.now).total_seconds()):.0f} s",
            "Leases go by the server's clock and are not affected; times in the ledger are this machine's.",
            "Have both machines follow one time server.",
        )


def _last(tx: sa.Connection, project: str) -> list[chain.Entry]:
    return chain.entries(tx, project, limit=1, newest_first=True)


def _time_of_server(tx: sa.Connection) -> datetime | None:
    if tx.dialect.name != "postgresql":
        return None
    return utc(tx.execute(sa.text("select clock_timestamp()")).scalar_one())


def _libraries() -> Iterator[Finding]:
    for library in native.LIBRARIES:
        if native.loaded(library) is None:
            yield Finding(
                f"{library.name}.slow",
                "note",
                f"the library that {library.does} was not built when Loopline was installed",
                library.without,
                "Install a C compiler (gcc or clang), and then Loopline again with --no-binary or from its source.",
            )


def _ports(one: Examined) -> Iterator[Finding]:
    settings = one.settings
    for port, variable in ((settings.port, "LOOPLINE_PORT"), (settings.scoring_port, "LOOPLINE_SCORING_PORT")):
        try:
            check_port(settings.host, port, variable)
        except Conflict as error:
            means = "`loopline up` is not running on this home and could not start."
            yield Finding("port.taken", "warning", error.message, means, error.remedy)
