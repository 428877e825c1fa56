"""PostgreSQL: what was deleted leaves the files of tables, of long values kept apart, and of the planner's statistics."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from loopline.storage.database import Database
from loopline.testing.postgres import scratch_database

PLANTED = "PLANTED-4711-ä"


@pytest.fixture
def scratch(postgres_url):
    with scratch_database(postgres_url, "forgetting") as url:
        database = Database.open(url, durable=False)
        yield database
        database.close()


def files_of(database: Database, connection: sa.Connection) -> list[Path]:
    """The files of this database, written to disk up to now."""
    connection.exec_driver_sql("checkpoint")
    where = connection.exec_driver_sql("select setting from pg_settings where name = 'data_directory'").scalar()
    number = connection.exec_driver_sql("select oid from pg_database where datname = current_database()").scalar()
    return [path for path in (Path(str(where)) / "base" / str(number)).iterdir() if path.is_file()]


def holding(database: Database) -> int:
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        return sum(PLANTED.encode() in path.read_bytes() for path in files_of(database, connection))


def test_rows_long_values_and_statistics_are_gone(scratch):
    with scratch.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        run = connection.exec_driver_sql
        run("create table told (id int primary key, text text, long text)")
        run("alter table told alter column long set storage external")
        run(
            "insert into told select i, case when mod(i, 3) = 0 then %(who)s else 'x' || i end, repeat(%(who)s, 900)"
            " from generate_series(1, 300) i",
            {"who": PLANTED},
        )
        run("analyze told")
        run("update told set text = 'nobody', long = 'nothing'")
    held = holding(scratch)
    assert held >= 3, "the table, its long values, and the statistics"
    said = scratch.forget()
    assert "VACUUM FULL took dead rows out" in said
    assert holding(scratch) == 0
    with scratch.reading() as tx:
        assert tx.execute(sa.text("select count(*) from told where text = 'nobody'")).scalar() == 300


def test_a_role_that_may_not_is_told_of(scratch):
    with scratch.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        run = connection.exec_driver_sql
        run("create table told (id int primary key, text text)")
        run("create role narrow login")
        run("grant all on told to narrow")
    narrow = Database.open(scratch.engine.url.set(username="narrow").render_as_string(), durable=False)
    try:
        assert "VACUUM was not possible for told, pg_statistic" in narrow.forget()
    finally:
        narrow.close()
        with scratch.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("drop owned by narrow")
            connection.exec_driver_sql("drop role narrow")
