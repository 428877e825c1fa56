"""Migrations, against the tables as the parts declare them."""

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from loopline.errors import Unavailable
from loopline.storage import migrations
from loopline.storage.database import Database
from loopline.testing.migration import schema_differences, write_migration
from loopline.testing.stores import joined_metadata


def tables_of(database):
    """What the database itself says of its tables, apart from the migrations' own."""
    inspector = sa.inspect(database.engine)
    return {
        name: {
            "columns": {c["name"]: (str(c["type"]), c["nullable"], c["default"]) for c in inspector.get_columns(name)},
            "primary key": inspector.get_pk_constraint(name),
            "foreign keys": sorted(map(repr, inspector.get_foreign_keys(name))),
            "unique": sorted(map(repr, inspector.get_unique_constraints(name))),
            "checks": sorted(map(repr, inspector.get_check_constraints(name))),
            "indexes": sorted(map(in_words, inspector.get_indexes(name))),
        }
        for name in inspector.get_table_names()
        if name != "alembic_version"
    }


def in_words(index):
    """An index with the conditions of a partial one as text: they come as objects that are never equal."""
    return repr(index | {"dialect_options": {name: str(one) for name, one in index.get("dialect_options", {}).items()}})


def test_the_migrated_schema_is_what_the_parts_declare(make_empty_database):
    migrated, created = make_empty_database(), make_empty_database()
    migrations.upgrade(migrated)
    metadata = joined_metadata()
    with created.transaction() as tx:
        metadata.create_all(tx)
    assert schema_differences(migrated, metadata).as_diffs() == []
    assert tables_of(migrated) == tables_of(created)


def test_upgrading_is_done_once(make_empty_database):
    database = make_empty_database()
    assert migrations.current(database) is None
    with pytest.raises(Unavailable, match="is at no revision") as raised:
        migrations.check(database)
    assert raised.value.code == "database.schema_outdated"
    revision = migrations.upgrade(database)
    assert migrations.upgrade(database) == migrations.current(database) == revision
    migrations.check(database)


def test_the_files_are_named_by_their_revisions_and_follow_each_other():
    script = ScriptDirectory(str(migrations.FOLDER))
    steps = [step.revision for step in script.walk_revisions()][::-1]
    assert steps == migrations._revisions(migrations.FOLDER)
    assert script.get_current_head() == steps[-1]


def test_a_database_of_a_later_version_is_left_alone(make_empty_database):
    database = make_empty_database()
    migrations.upgrade(database)
    with database.transaction() as tx:
        tx.execute(sa.text("update alembic_version set version_num = '9999'"))
    for refused in (migrations.check, migrations.upgrade):
        with pytest.raises(Unavailable, match="9999") as raised:
            refused(database)
        assert raised.value.code == "database.schema_newer"


def test_upgrades_at_once_wait_for_each_other(make_empty_database):
    database = make_empty_database()
    with ThreadPoolExecutor(4) as pool:
        revisions = list(pool.map(lambda _: migrations.upgrade(database), range(4)))
    assert len(set(revisions)) == 1
    migrations.check(database)


_KILLED_UPGRADES = """
import os, signal, sys
import sqlalchemy as sa
from loopline.storage import migrations
from loopline.storage.database import Database

def killed_at(url, point):
    database = Database.open(url)
    statements = iter(range(10**9))
    def count(*_):
        if next(statements) == point:
            os.kill(os.getpid(), signal.SIGKILL)
    sa.event.listen(database.engine, "before_cursor_execute", count)
    sa.event.listen(database.engine, "commit", count)
    migrations.upgrade(database)

for point in range(0, 10_000, 15):
    child = os.fork()
    if child == 0:
        killed_at(sys.argv[1], point)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    after = Database.open(sys.argv[1])
    print(status, migrations.current(after), len(sa.inspect(after.engine).get_table_names()), flush=True)
    after.close()
    if status == 0:
        break
"""


def test_an_upgrade_killed_at_any_point_leaves_the_old_schema_or_the_new(make_empty_database):
    database = make_empty_database()
    url = database.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", _KILLED_UPGRADES, url]
    *killed, finished = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(killed) >= 3
    assert set(killed) == {f"{int(signal.SIGKILL)} None 0"}
    assert finished.startswith(f"0 {migrations.current(database)} ")
    migrations.check(database)


def test_the_next_migration_is_written_from_the_difference(make_empty_database, tmp_path):
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    metadata = sa.MetaData()
    sa.Table("tree", metadata, sa.Column("name", sa.String, primary_key=True))
    assert write_migration("Plant a tree", metadata=metadata, folder=folder).name == "0001_plant_a_tree.py"
    assert write_migration("nothing", metadata=metadata, folder=folder) is None
    database = make_empty_database()
    assert migrations.upgrade(database, folder=folder) == "0001"

    with database.transaction() as tx:
        tx.execute(sa.text("insert into tree (name) values ('oak')"))
    grown = sa.MetaData()
    sa.Table("tree", grown, sa.Column("name", sa.String, primary_key=True), sa.Column("height", sa.Integer))
    assert write_migration("height", metadata=grown, folder=folder).name == "0002_height.py"
    with pytest.raises(Unavailable, match="is at 0001, this version needs 0002"):
        migrations.check(database, folder=folder)
    assert migrations.upgrade(database, folder=folder) == "0002"
    with database.reading() as tx:
        assert tx.execute(sa.text("select name, height from tree")).all() == [("oak", None)]


def test_a_database_is_migrated_from_an_installed_package(tmp_path):
    package = tmp_path / "site" / "loopline"
    shutil.copytree(migrations.FOLDER.parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
    url = f"sqlite:///{tmp_path}/loopline.db"
    code = "import sys, loopline.storage.migrations as m; from loopline.storage.database import Database\n"
    code += "assert 'site' in m.__file__; print(m.upgrade(Database.open(sys.argv[1])))"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", code, url], env=environment, cwd=tmp_path, check=True)
    database = Database.open(url)
    migrations.check(database)
    database.close()
