"""The database's schema through time: one file in `versions/` for each change, applied forward only.

An upgrade is one transaction, also on SQLite: killed at any point it leaves the old schema or the new one. There is no way
down; restore a backup instead.
"""

from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

from loopline.errors import Unavailable
from loopline.storage.database import Database, Transaction, lock

FOLDER = Path(__file__).parent


def upgrade(database: Database, *, folder: Path = FOLDER) -> str:
    """Bring the schema to the newest revision and return it; where it is there already, nothing happens.

    Upgrades by many processes at once wait for each other. Raises `Unavailable` "database.schema_newer" for a database that a
    later Loopline has upgraded.
    """
    script = ScriptDirectory(str(folder))
    with database.transaction() as tx:
        lock(tx, "migrations")
        _check_known(script, _revision(tx))
        _run(script, tx)
        return str(_revision(tx))


def current(database: Database) -> str | None:
    """The schema's revision, or None for an empty database."""
    with database.reading() as tx:
        return _revision(tx)


def check(database: Database, *, folder: Path = FOLDER) -> None:
    """Raise `Unavailable` unless the schema is this version's: "database.schema_outdated" or "database.schema_newer"."""
    script = ScriptDirectory(str(folder))
    found, newest = current(database), script.get_current_head()
    _check_known(script, found)
    if found != newest:
        raise Unavailable(
            "database.schema_outdated",
            f"the database's schema is at {found or 'no revision'}, this version needs {newest}",
            remedy="Back the database up, then upgrade it: any `loopline` command on this home does.",
            found=found,
            needed=newest,
        )


def _run(script: ScriptDirectory, tx: Transaction) -> None:
    def steps(revision: Any, _: MigrationContext) -> list[object]:
        return list(script._upgrade_revs("head", revision))  # noqa: SLF001 - what `alembic upgrade` calls

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(connection=tx, transactional_ddl=True)
        environment.run_migrations()


def _revision(tx: Transaction) -> str | None:
    return MigrationContext.configure(tx).get_current_revision()


def _check_known(script: ScriptDirectory, revision: str | None) -> None:
    known = {step.revision for step in script.walk_revisions()}
    if revision is not None and revision not in known:
        raise Unavailable(
            "database.schema_newer",
            f"the database's schema is at {revision}, which this version does not know",
            remedy="Install the version of Loopline that upgraded it, or a later one.",
            found=revision,
        )
