"""`tidy`: what is not needed any more goes, and many small files become few; never anything that something refers to.

No version of a table is given up: training sets, `reproduce` and erasures read them by their numbers. So files are compacted and
files that no version has are removed. Only predictions and quarantines, which no training set pins, lose old rows, where somebody says how long they are kept.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import msgspec
import structlog

from loopline.app.references import unnamed
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.errors import Conflict, told
from loopline.executors import transit
from loopline.loop.resources import Resources
from loopline.monitoring.watch import list_monitors, watched_projects
from loopline.pipelines.prune import prune
from loopline.scoring.record import PREDICTIONS, SHADOWS, prediction_table
from loopline.scoring.spool_folder import TORN, Lock, SpoolFolder
from loopline.storage.files import PENDING, write_file
from loopline.tables.quarantine import SUFFIX
from loopline.values import duration

log = structlog.get_logger(__name__)

FEWEST_FILES = 16
_STRAY = timedelta(days=2)
_MONTH = timedelta(days=30)
_PATIENCE = 5.0  # seconds: whoever comes later waits meanwhile
_LOOKS_EVERY = 300.0  # seconds
_STATE = "tidied.json"


class Tidied(msgspec.Struct, frozen=True):
    """`count` things at `place`: what was done with them, or would be; `why` it may be."""

    place: str
    what: str
    count: int
    why: str


@dataclass(frozen=True)
class _Work:
    settings: Settings
    resources: Resources
    now: datetime
    dry: bool


def tidy(settings: Settings, resources: Resources, *, dry: bool = False, now: datetime | None = None) -> list[Tidied]:
    """Tidy the home up, or with `dry` say what would be done. `now`, UTC, is the machine's time by default: ages are those of files.

    Can be killed at any point and called again, and while everything runs. Raises `Unavailable` "lock.busy" where a turn, a
    training or an erasure does not end.
    """
    work = _Work(settings, resources, now or SystemClock().now(), dry)
    return [
        line
        for part in (_retired, _tables, _spools, _leftovers, _replays, _executions, _artifacts)
        for line in part(work)
    ]


class Tidying:
    """Tidies a home up now and then, in a thread of its own; when it did is kept in the home."""

    def __init__(self, settings: Settings, resources: Resources) -> None:
        """Raises `InvalidInput` "duration.unreadable"."""
        self._settings, self._resources = settings, resources
        self._every = duration(settings.tidy_every) if settings.tidy_every else None
        kept = (settings.keep_artifacts, settings.keep_replays, settings.keep_executions)
        for text in (*kept, settings.keep_predictions, settings.keep_quarantine):
            duration(text or "1d")

    def run(self, stop: Event) -> None:
        """Until `stop` is set. What fails is logged, and tried again."""
        while self._every is not None and not stop.wait(min(_LOOKS_EVERY, self._every.total_seconds())):
            self.step(SystemClock().now())

    def step(self, now: datetime) -> bool:
        """Tidy up if it is time; whether it was done."""
        if self._every is None or now < self._last() + self._every:
            return False
        try:
            for line in tidy(self._settings, self._resources, now=now):
                log.info("tidied", place=line.place, what=line.what, count=line.count)
        except Exception as error:  # the loop must outlive a bad hour
            log.warning("tidy_failed", error=told(error))
            return False
        write_file(self._settings.home / _STATE, msgspec.json.encode({"at": now}))
        return True

    def _last(self) -> datetime:
        try:
            content = (self._settings.home / _STATE).read_bytes()
            return msgspec.json.decode(content, type=dict[str, datetime])["at"]
        except (FileNotFoundError, msgspec.DecodeError, KeyError):
            return datetime.min.replace(tzinfo=UTC)


def _tables(work: _Work) -> Iterator[Tidied]:
    waiting = any((work.settings.home / "batch").glob("*/job.json"))
    for name in work.resources.tables.names():
        table = work.resources.tables.open(name)
        if saved := table.compact(fewest=FEWEST_FILES, dry=work.dry):
            yield Tidied(f"table {name}", "files made fewer", saved, "rows and versions stay as they are")
        before = work.now - _STRAY
        strays = [] if waiting else table.strays(before)
        if strays:
            count = len(strays) if work.dry else len(table.drop_strays(before))
            yield Tidied(f"table {name}", "files removed", count, "a killed writer left them; no version has them")


def _retired(work: _Work) -> Iterator[Tidied]:
    """Old rows of predictions that every monitor has seen, and of quarantines; by the loop's clock, not the machine's."""
    settings, now = work.settings, work.resources.clock.now()
    if not settings.keep_predictions and not settings.keep_quarantine:
        return
    watched = _watched_until(work)
    for name in work.resources.tables.names():
        kept = settings.keep_predictions if name.startswith((PREDICTIONS, SHADOWS)) else ""
        kept = settings.keep_quarantine if name.endswith(SUFFIX) else kept
        if not kept:
            continue
        before = min([now - duration(kept), *watched.get(name, [])])
        rows = work.resources.tables.open(name).retire(before, dry=work.dry)
        if rows:
            yield Tidied(f"table {name}", "rows retired", rows, f"older than {kept}")


def _watched_until(work: _Work) -> dict[str, list[datetime]]:
    """How far the monitors of each model have come, by the table of its predictions."""
    found: dict[str, list[datetime]] = {}
    with work.resources.database.reading() as tx:
        for one in (one for project in watched_projects(tx) for one in list_monitors(tx, project)):
            found.setdefault(prediction_table(one.project, one.model), []).append(one.watermark)
    return found


def _spools(work: _Work) -> Iterator[Tidied]:
    for folder in sorted(path for path in work.settings.spool_path.glob("*") if (path / "spool.json").exists()):
        spool = SpoolFolder(folder)
        torn = [path for number in spool.numbers(TORN) if _is_older(path := spool.segment(number, TORN), work, _MONTH)]
        if torn:
            _drop(torn, work)
            yield Tidied(f"spool {folder.name}", "torn ends removed", len(torn), "never acknowledged")


def _leftovers(work: _Work) -> Iterator[Tidied]:
    found = [path for path in work.settings.home.rglob(f"{PENDING}*") if path.is_file()]
    old = [path for path in found if _is_older(path, work, _STRAY)]
    if old:
        _drop(old, work)
        yield Tidied("home", "unfinished files removed", len(old), "a killed command left them")
    url = work.settings.artifacts_url
    lost = list(transit.older(url, work.now - _STRAY))
    if lost:
        if not work.dry:
            transit.drop(url, iter(lost))
        yield Tidied("artifacts", "removed in transit", len(lost), "a killed command sent them to jobs")


def _replays(work: _Work) -> Iterator[Tidied]:
    if not work.settings.keep_replays:
        return
    kept = duration(work.settings.keep_replays)
    for folder in sorted(path for path in work.settings.replays_path.glob("*") if (path / "keys").is_dir()):
        newest = max((path.stat().st_mtime for path in folder.rglob("*") if path.is_file()), default=0.0)
        if datetime.fromtimestamp(newest, UTC) < work.now - kept and not _is_used(folder):
            if not work.dry:
                going = folder.with_name(f"{PENDING}{folder.name}")
                folder.replace(going)
                shutil.rmtree(going)
            yield Tidied(f"replay {folder.name}", "removed", 1, f"not used for {work.settings.keep_replays}")
    for left in () if work.dry else sorted(work.settings.replays_path.glob(f"{PENDING}*")):
        shutil.rmtree(left, ignore_errors=True)


def _executions(work: _Work) -> Iterator[Tidied]:
    kept = work.settings.keep_executions
    if not kept:
        return
    pruned = prune(work.resources.database, work.now - duration(kept), dry=work.dry)
    if pruned.executions:
        yield Tidied("executions", "steps and events removed", pruned.executions, f"ended {kept} ago or earlier")
    if pruned.cached:
        yield Tidied("cache", "results forgotten", pruned.cached, f"not used for {kept}")


def _artifacts(work: _Work) -> Iterator[Tidied]:
    kept = _kept_artifacts(work.settings)
    if kept is None:
        return
    before = work.now - kept
    with work.resources.activity.alone(patience=_PATIENCE):
        resources = work.resources
        spare = unnamed(resources.database, resources.tables, resources.artifacts, work.settings, before=before)
        for digest in () if work.dry else spare:
            written = resources.artifacts.modified(digest)
            if written is not None and written < before:  # put again just now, something is about to name it
                resources.artifacts.remove(digest)
    if spare:
        yield Tidied("artifacts", "removed", len(spare), "nothing names them")


def _kept_artifacts(settings: Settings) -> timedelta | None:
    """A store elsewhere may be shared with another home, whose artifacts nothing here names."""
    if settings.keep_artifacts:
        return duration(settings.keep_artifacts)
    own = Path(settings.artifacts_url.removeprefix("file://")).is_relative_to(settings.home)
    return _MONTH if own else None


def _is_older(path: Path, work: _Work, age: timedelta) -> bool:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) < work.now - age
    except FileNotFoundError:
        return False


def _is_used(home: Path) -> bool:
    path = home / "up.lock"
    try:
        if path.exists():
            Lock(path).close()
    except Conflict:
        return True
    return False


def _drop(paths: list[Path], work: _Work) -> None:
    for path in () if work.dry else paths:
        path.unlink(missing_ok=True)
