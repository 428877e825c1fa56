"""`backup`: a home as it is at one moment, into a folder, while everything goes on.

The order is what makes it consistent. What waits to be taken over (spools, journals, batches under way) is copied first: from
there it may only move into the database and the tables. Then nobody commits for as long as it takes to note the tables' versions
and copy the database. Tables are copied at those versions. Artifacts are durable before anything refers to them, so they come
last. An erasure waits meanwhile.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from loopline.app.backup import manifest as manifests
from loopline.app.backup.manifest import File, Manifest
from loopline.app.backup.target import appearing, put
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.ledger import chain
from loopline.ledger.chain import Head
from loopline.loop.resources import Resources
from loopline.storage.database import Database
from loopline.storage.files import PENDING
from loopline.storage.migrations import current
from loopline.values import digest

HOME, TABLES, ARTIFACTS = "home", "tables", "artifacts"
SQLITE, POSTGRES = "home/loopline.db", "database.dump"
ERASED = "_erased.json"

# Made anew by whoever needs it, or of processes that run now.
_LEFT_OUT = {"online", "run", "log", "locks", "replays", TABLES, ARTIFACTS}
_PASSING = (".lock", ".turn", ".tmp")

Open = Callable[[Settings], Resources]
Progress = Callable[[str], None]


@dataclass
class _Copy:
    """What was copied so far, below `folder`."""

    folder: Path
    progress: Progress
    files: dict[str, File] = field(default_factory=dict)

    def put(self, name: str, content: bytes, *, mode: int = 0o600) -> None:
        self.files[name] = put(self.folder, name, content, mode=mode)

    def note(self, name: str) -> None:
        """A file that another wrote."""
        content = (self.folder / name).read_bytes()
        (self.folder / name).chmod(0o600)
        self.files[name] = File(digest(content), len(content))


@dataclass(frozen=True)
class _Pinned:
    """What was found while nobody committed."""

    revision: str | None
    tables: dict[str, int]
    ledgers: dict[str, Head]


def backup(settings: Settings, opened: Open, to: Path, *, progress: Progress = lambda _: None) -> Manifest:
    """Write a backup of the home to the folder `to`, and of the homes of its replays; gives what it holds.

    Raises `Conflict` "backup.not_empty", and `Corrupt` where something that is copied is damaged.
    """
    with appearing(to, "A backup") as folder:
        copy = _Copy(folder, progress)
        resources = opened(settings)
        try:
            pinned = _copy_home(copy, settings, resources, HOME, "")
        finally:
            resources.database.close()
        for below in _replays(settings):
            resources = opened(below)
            try:
                place = f"{HOME}/replays/{below.home.name}"
                _copy_home(copy, below, resources, place, f"{place}/")
            finally:
                resources.database.close()
        made = Manifest(
            made_at=SystemClock().now(),
            loopline=_version(),
            database=_kind(settings),
            revision=pinned.revision,
            tables=pinned.tables,
            ledgers=pinned.ledgers,
            files=copy.files,
        ).sealed()
        manifests.write(folder, made)
    return made


def _copy_home(copy: _Copy, settings: Settings, resources: Resources, home: str, above: str) -> _Pinned:
    with resources.activity.shared():
        copy.progress("files")
        for path in _plain(settings):
            _copy_file(copy, path, f"{home}/{path.relative_to(settings.home).as_posix()}")
        copy.progress("database")
        pinned = _copy_database(
            copy, resources, f"{above}{POSTGRES}" if _is_postgres(settings) else f"{home}/loopline.db"
        )
        for name, version in pinned.tables.items():
            copy.progress(f"table {name}")
            for file, content in resources.tables.open(name).copy_at(version):
                copy.put(f"{above}{TABLES}/{name}/{file}", content)
        if (erased := resources.tables.blocked.content()) is not None:
            copy.put(f"{above}{TABLES}/{ERASED}", erased)
        copy.progress("artifacts")
        for one in sorted(resources.artifacts.digests()):
            copy.put(f"{above}{ARTIFACTS}/{one[7:9]}/{one[9:]}", resources.artifacts.get(one))
    return pinned


def _copy_database(copy: _Copy, resources: Resources, name: str) -> _Pinned:
    path = copy.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    database, tables = resources.database, resources.tables
    with database.still() as dump:
        versions = {table: tables.open(table).version for table in tables.names()}
        ledgers = heads(database)
        revision = current(database)
        dump(path)
    copy.note(name)
    return _Pinned(revision, versions, ledgers)


def heads(database: Database) -> dict[str, Head]:
    """Where each ledger ends."""
    with database.reading() as tx:
        return {name: chain.head(tx, name) for name in chain.projects(tx)}


def _copy_file(copy: _Copy, path: Path, name: str) -> None:
    try:
        content, mode = path.read_bytes(), path.stat().st_mode & 0o777
    except FileNotFoundError:  # shipped, sealed or taken over meanwhile
        return
    copy.put(name, content, mode=mode)


def _plain(settings: Settings) -> Iterator[Path]:
    """The files of the home that are copied as they are. A spool's or journal's end may be cut; so would a kill leave it."""
    apart = {path.resolve() for path in _local_roots(settings)}
    database = "loopline.db" if _is_postgres(settings) else Path(settings.database_url.removeprefix("sqlite:///")).name
    for top in sorted(settings.home.iterdir()):
        if top.name in _LEFT_OUT or top.resolve() in apart:
            continue
        for path in _below(top):
            passing = path.name.endswith(_PASSING) or path.name.startswith((PENDING, ".")) or path.name == "lock"
            if not passing and not path.name.startswith(database):
                yield path


def _below(top: Path) -> Collection[Path]:
    if top.is_symlink() or not top.is_dir():
        return [top] if top.is_file() and not top.is_symlink() else []
    return sorted(path for path in top.rglob("*") if path.is_file() and not path.is_symlink())


def _local_roots(settings: Settings) -> list[Path]:
    urls = (settings.tables_url, settings.artifacts_url)
    return [Path(url.removeprefix("file://")) for url in urls if "://" not in url or url.startswith("file://")]


def _replays(settings: Settings) -> list[Settings]:
    """Replays on databases of their own elsewhere are left out: they can be run again."""
    found = sorted(path.parent for path in settings.replays_path.glob("*/loopline.db"))
    return [replace(Settings.read(folder, {}), durable=settings.durable) for folder in found]


def _is_postgres(settings: Settings) -> bool:
    return settings.database_url.startswith("postgresql")


def _kind(settings: Settings) -> str:
    return "postgresql" if _is_postgres(settings) else "sqlite"


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - slow to import, and asked for once

    return version("loopline")
