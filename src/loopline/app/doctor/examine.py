"""All checks, one after the other; one that fails is a finding itself."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from loopline.access.pseudonyms import Pseudonyms
from loopline.app.doctor import artifacts, database, keys, leftovers, machine, spools, tables
from loopline.app.doctor.finding import Check, Examined, Finding
from loopline.app.home import PSEUDONYMS
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.errors import Conflict, LooplineError, told
from loopline.scoring.spool_folder import Lock
from loopline.storage.artifacts import open_artifacts
from loopline.storage.database import Database
from loopline.tables.tables import Tables

_UNREADABLE = {"database.damaged", "database.schema_newer", "database.schema_outdated"}
CHECKS: tuple[Check, ...] = (
    database.check,
    keys.check,
    spools.check,
    tables.check,
    artifacts.check,
    leftovers.check,
    machine.check,
)


def examine(
    settings: Settings, *, mend: bool = False, deep: bool = False, now: datetime | None = None
) -> list[Finding]:
    """What is wrong with the home; with `mend` what can safely be put right is. Nothing else changes, no schema either. `now`, UTC, is the machine's time
    by default.
    """
    found: list[Finding] = []
    opened, problem = _open(settings)
    if problem is not None:
        found.append(problem)
    one = Examined(
        settings,
        opened,
        _tables(settings),
        open_artifacts(settings.artifacts_url, durable=settings.durable),
        now or SystemClock().now(),
        deep,
        _is_running(settings.home),
    )
    try:
        for check in CHECKS:
            seen = [_mended(finding) if mend else finding for finding in list(_asked(check, one))]
            found += seen
            if any(finding.code in _UNREADABLE and not finding.mended for finding in seen):
                one = replace(one, database=None)
    finally:
        if opened is not None:
            opened.close()
    return found


def _asked(check: Check, one: Examined) -> Iterator[Finding]:
    try:
        yield from check(one)
    except LooplineError as error:
        means = "This part could not be looked at to its end."
        yield Finding(error.code, "error", error.message, means, error.remedy)
    except Exception as error:  # whatever is damaged, the other checks are made
        yield Finding(
            "doctor.check_failed",
            "error",
            f"a check stopped: {told(error)}",
            "This part could not be looked at to its end.",
            "Mend what else was found first, and look again.",
        )


def _mended(finding: Finding) -> Finding:
    if finding.mend is None:
        return finding
    try:
        return replace(finding, mended=finding.mend())
    except LooplineError as error:
        return replace(finding, remedy=f"It could not be mended: {error.message}. {error.remedy}")


def _open(settings: Settings) -> tuple[Database | None, Finding | None]:
    """Without making a database where there is none."""
    url = settings.database_url
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        return None, Finding(
            "database.missing",
            "error",
            f"there is no database at {url.removeprefix('sqlite:///')}",
            "What is applied, registered, promoted and in the ledger is not there. The next command would begin anew.",
            "Put it back from a backup, or set LOOPLINE_DATABASE_URL as it was.",
        )
    try:
        opened = Database.open(url, durable=settings.durable)
        with opened.engine.connect():
            return opened, None
    except LooplineError as error:
        return None, Finding(error.code, "error", error.message, "No command can work on this home.", error.remedy)
    except Exception as error:  # each driver has errors of its own
        return None, Finding(
            "database.unreachable",
            "error",
            f"the database cannot be opened: {str(getattr(error, 'orig', error)).strip().splitlines()[0]}",
            "No command can work on this home.",
            "Check LOOPLINE_DATABASE_URL, the server and the file. Restore a backup where the file is damaged.",
        )


def _tables(settings: Settings) -> Tables:
    path = settings.keys_path / PSEUDONYMS
    pseudonyms = Pseudonyms(path.read_bytes()) if path.exists() else None
    return Tables(settings.tables_url, durable=settings.durable, pseudonyms=pseudonyms, locks=settings.locks_path)


def _is_running(home: Path) -> bool:
    path = home / "up.lock"
    if not path.exists():
        return False
    try:
        with closing(Lock(path)):
            return False
    except Conflict:
        return True
