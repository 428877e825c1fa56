"""`restore`: a new home out of a backup, every byte checked, nothing written over."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from loopline.app.backup import manifest as manifests
from loopline.app.backup.backup import ARTIFACTS, ERASED, HOME, POSTGRES, TABLES, heads
from loopline.app.backup.manifest import File, Manifest
from loopline.app.backup.target import appearing, put
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.errors import Conflict, Corrupt, InvalidInput
from loopline.ledger import chain
from loopline.storage.artifacts import open_artifacts
from loopline.storage.database import Database
from loopline.tables.tables import Tables
from loopline.values import digest

_LOG = "/_delta_log/"


@dataclass(frozen=True)
class _Backup:
    """A backup's folder, whose files are read once and checked as they are read."""

    folder: Path
    manifest: Manifest

    def read(self, name: str) -> bytes:
        """Raises `Corrupt` "backup.damaged"."""
        said = self.manifest.files[name]
        try:
            content = (self.folder / name).read_bytes()
        except FileNotFoundError as error:
            raise _damaged(name, "is gone") from error
        if len(content) != said.size or digest(content) != said.digest:
            raise _damaged(name, "is not what was written")
        return content

    def below(self, top: str) -> Iterator[tuple[str, str, File]]:
        """The files below the folder `top`: whole name, name below it, and what is said of it."""
        for name, said in self.manifest.files.items():
            if name.startswith(f"{top}/"):
                yield name, name.removeprefix(f"{top}/"), said


def verify(source: Path) -> Manifest:
    """Read every byte of a backup and give what it holds. Raises as `restore`."""
    found = _Backup(source, manifests.read(source))
    for name in found.manifest.files:
        found.read(name)
    return found.manifest


def restore(source: Path, settings: Settings) -> Manifest:
    """Make the home of `settings` out of the backup in the folder `source`; database, tables and artifacts go where they say.

    Raises `NotFound` "backup.not_found", `Corrupt` "backup.damaged", "backup.manifest_damaged" and `Conflict`
    "backup.not_empty", "backup.database_not_empty", "table.exists", `InvalidInput` "backup.other_database".
    """
    found = _Backup(source, manifests.read(source))
    _check_database(found.manifest, settings)
    with appearing(settings.home, "A restored home") as pending:
        for name, below, said in found.below(HOME):
            put(pending, _renamed(below, found.manifest), found.read(name), mode=said.mode)
        inside = _inside(settings, pending)
        _restore_tables(found, inside)
        _restore_artifacts(found, inside)
        _restore_database(found, inside)
    return found.manifest


def _inside(settings: Settings, pending: Path) -> Settings:
    """The settings while the home has not got its name."""

    def moved(url: str) -> str:
        return url.replace(str(settings.home), str(pending), 1)

    return replace(
        settings,
        home=pending,
        database_url=moved(settings.database_url),
        tables_url=moved(settings.tables_url),
        artifacts_url=moved(settings.artifacts_url),
    )


def _check_database(manifest: Manifest, settings: Settings) -> None:
    given = "postgresql" if settings.database_url.startswith("postgresql") else "sqlite"
    if given != manifest.database:
        raise InvalidInput(
            "backup.other_database",
            f"the backup is of a home on {manifest.database}, and LOOPLINE_DATABASE_URL is {given}'s",
            remedy="Set LOOPLINE_DATABASE_URL to an empty PostgreSQL database."
            if manifest.database == "postgresql"
            else "Unset LOOPLINE_DATABASE_URL.",
        )
    if given == "postgresql":
        with closing(Database.open(settings.database_url)) as database:
            if not database.empty():
                raise Conflict(
                    "backup.database_not_empty",
                    "there are tables in the database already",
                    remedy="Nothing is restored over what is there. Make an empty database, or drop what a killed restore left.",
                )
    elif Path(settings.database_url.removeprefix("sqlite:///")) != settings.home / "loopline.db":
        raise InvalidInput(
            "backup.other_database",
            "the database would be outside of the home",
            remedy="Unset LOOPLINE_DATABASE_URL; the file may be moved afterwards.",
        )


def _renamed(name: str, manifest: Manifest) -> str:
    """Spools are only emptied: tables may hold what the home logged after the backup's spools were copied, and would take later
    segments of the same spool for ones they have.
    """
    parts = name.split("/")
    at = parts.index("spool") + 1 if "spool" in parts[:-1] else 0
    if at and parts[at].isdigit():
        parts[at] = f"{parts[at]}-{manifest.digest[7:15]}"
    return "/".join(parts)


def _restore_tables(found: _Backup, settings: Settings) -> None:
    tables = Tables(settings.tables_url, durable=settings.durable, clock=SystemClock(), locks=settings.locks_path)
    files: dict[str, list[tuple[str, str]]] = {name: [] for name in found.manifest.tables}
    for name, below, _ in found.below(TABLES):
        table, _, file = below.partition("/")
        if below != ERASED:
            files[table].append((name, file))
    for table, held in files.items():
        tables.write_copy(
            table, ((file, found.read(name)) for name, file in sorted(held, key=lambda one: _LOG in f"/{one[1]}"))
        )
    if f"{TABLES}/{ERASED}" in found.manifest.files:
        tables.blocked.put_content(found.read(f"{TABLES}/{ERASED}"))


def _restore_artifacts(found: _Backup, settings: Settings) -> None:
    artifacts = open_artifacts(settings.artifacts_url, durable=settings.durable)
    for name, below, _ in found.below(ARTIFACTS):
        kept = artifacts.put(found.read(name))
        if kept != f"sha256:{below.replace('/', '')}":
            raise _damaged(name, "is not the artifact that its name says")


def _restore_database(found: _Backup, settings: Settings) -> None:
    if POSTGRES in found.manifest.files:
        found.read(POSTGRES)
    with closing(Database.open(settings.database_url, durable=settings.durable)) as database:
        database.fill(found.folder / POSTGRES)
        with database.reading() as tx:
            for project, head in found.manifest.ledgers.items():
                chain.verify(tx, project, anchor=head)
        if heads(database) != found.manifest.ledgers:
            raise _damaged("the ledger", "ends elsewhere than the backup says")


def _damaged(name: str, what: str) -> Corrupt:
    return Corrupt(
        "backup.damaged",
        f"{name} of the backup {what}",
        remedy="Take another backup. Nothing was restored; the home is not there.",
    )
