"""Writes the next migration, from what the migrations give to what the parts' tables are.

    python -m loopline.testing.migration "add a column for X"
    python -m loopline.testing.migration --first        (before a release: one migration from nothing)

Read what it wrote: a renamed column looks like one dropped and one added.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext
from alembic.operations.ops import UpgradeOps
from alembic.script import ScriptDirectory
from sqlalchemy.types import TypeDecorator

from loopline.storage.columns import Json, UtcTime
from loopline.storage.database import Database
from loopline.storage.migrations import FOLDER, upgrade
from loopline.testing.stores import joined_metadata

_TEMPLATE = '''"""{message}."""
# ruff: noqa: N999 - the number orders the files

import sqlalchemy as sa
from alembic import op

from loopline.storage.columns import Json, UtcTime

revision = "{revision}"
down_revision = {previous}


def upgrade() -> None:
    {code}
'''


def schema_differences(database: Database, metadata: sa.MetaData) -> UpgradeOps:
    """The operations that would turn the database's schema into the metadata's; `is_empty()` where they are the same."""
    with database.reading() as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True, "compare_server_default": True})
        operations = produce_migrations(context, metadata).upgrade_ops
    if operations is None:
        raise AssertionError("Alembic always gives operations")
    return operations


def write_migration(message: str, *, metadata: sa.MetaData, folder: Path = FOLDER) -> Path | None:
    """Write `versions/<number>_<message>.py` and return its path, or None where there is nothing to change."""
    previous = ScriptDirectory(str(folder)).get_current_head()
    with tempfile.TemporaryDirectory() as scratch:
        database = Database.open(f"sqlite:///{scratch}/loopline.db", durable=False)
        if previous is not None:
            upgrade(database, folder=folder)
        operations = schema_differences(database, metadata)
        database.close()
    if operations.is_empty():
        return None
    revision = f"{int(previous or 0) + 1:04d}"
    path = folder / "versions" / f"{revision}_{_slug(message)}.py"
    path.write_text(_render(operations, message, revision, previous))
    subprocess.run([sys.executable, "-m", "ruff", "check", "--quiet", "--fix-only", str(path)], check=True)  # noqa: S603 - ruff
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", str(path)], check=True)  # noqa: S603 - ruff
    return path


def main() -> None:
    """Write the next migration, or with `--first` one in place of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("message", nargs="?", default="first", help="what changes, in a few words")
    parser.add_argument("--first", action="store_true", help="replace every migration by one from an empty database")
    asked = parser.parse_args()
    metadata = joined_metadata()
    if asked.first:
        for old in (FOLDER / "versions").glob("[0-9]*.py"):
            old.unlink()
    written = write_migration(asked.message, metadata=metadata)
    sys.stdout.write(f"{written or 'nothing to change'}\n")


def _render(operations: UpgradeOps, message: str, revision: str, previous: str | None) -> str:
    lines = render_python_code(operations, render_item=_render_item).splitlines()
    code = "\n".join(line for line in lines if not line.lstrip().startswith("# ###")).strip()
    before = f'"{previous}"' if previous else None
    return _TEMPLATE.format(message=message.capitalize(), revision=revision, previous=before, code=code)


def _render_item(kind: str, item: Any, _: AutogenContext) -> str | Literal[False]:
    """A part's own type is written as what it is stored as, so that an old migration does not need the part."""
    if kind != "type" or not isinstance(item, TypeDecorator):
        return False
    return f"{type(item).__name__}()" if isinstance(item, (Json, UtcTime)) else f"sa.{item.impl_instance!r}"


def _slug(message: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", message.lower()).strip("_")


if __name__ == "__main__":
    main()
