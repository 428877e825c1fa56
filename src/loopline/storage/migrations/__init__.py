"""The database's schema through time: one file in `versions/` for each change, applied forward only.

An upgrade is one transaction, also on SQLite: killed at any point it leaves the old schema or the new one. There is no way
down; restore a backup instead.
"""

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from loopline.errors import Unavailable
from loopline.storage.database import Database, Transaction, lock

FOLDER = Path(__file__).parent
_TABLE = "alembic_version"


def upgrade(database: Database, *, folder: Path = FOLDER) -> str:
    """Bring the schema to the newest revision and return it; where it is there already, nothing happens.

    Upgrades by many processes at once wait for each other. Raises `Unavailable` "database.schema_newer" for a database that a
    later Loopline has upgraded.
    """
    newest = _revisions(folder)[-1]
    if current(database) == newest:
        return newest
    with database.transaction() as tx:
        lock(tx, "migrations")
        _check_known(_revision(tx), folder)
        _run(tx, folder)
        return str(_revision(tx))


def current(database: Database) -> str | None:
    """The schema's revision, or None for an empty database."""
    with database.reading() as tx:
        return _revision(tx)


def check(database: Database, *, folder: Path = FOLDER) -> None:
    """Raise `Unavailable` unless the schema is this version's: "database.schema_outdated" or "database.schema_newer"."""
    found, newest = current(database), _revisions(folder)[-1]
    _check_known(found, folder)
    if found != newest:
        raise Unavailable(
            "database.schema_outdated",
            f"the database's schema is at {found or 'no revision'}, this version needs {newest}",
            remedy="Back the database up, then upgrade it: any `loopline` command on this home does.",
            found=found,
            needed=newest,
        )


def _run(tx: Transaction, folder: Path) -> None:
    # Every command opens a database and next to none upgrades one: a third of a second that these imports take.
    from alembic.config import Config  # noqa: PLC0415
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    script = ScriptDirectory(str(folder))

    def steps(revision: Any, _: Any) -> list[object]:
        return list(script._upgrade_revs("head", revision))  # noqa: SLF001 - what `alembic upgrade` calls

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(connection=tx, transactional_ddl=True)
        environment.run_migrations()


def _revision(tx: Transaction) -> str | None:
    if not sa.inspect(tx).has_table(_TABLE):
        return None
    found: str | None = tx.exec_driver_sql(f"select version_num from {_TABLE}").scalar()  # noqa: S608 - a fixed name
    return found


def _revisions(folder: Path) -> list[str]:
    """The revisions there are, in order: a file's name begins with its own."""
    return sorted(path.name.partition("_")[0] for path in (folder / "versions").glob("[0-9]*_*.py"))


def _check_known(revision: str | None, folder: Path) -> None:
    if revision is not None and revision not in _revisions(folder):
        raise Unavailable(
            "database.schema_newer",
            f"the database's schema is at {revision}, which this version does not know",
            remedy="Install the version of Loopline that upgraded it, or a later one.",
            found=revision,
        )
