"""The database: is it there, is it sound, is its schema this version's, do the ledgers hold."""

from collections.abc import Iterator

from loopline.app.doctor.finding import Examined, Finding
from loopline.errors import LooplineError
from loopline.ledger import chain
from loopline.storage.migrations import check as check_schema
from loopline.storage.migrations import upgrade


def check(one: Examined) -> Iterator[Finding]:
    """Integrity, schema, ledgers; what cannot be read is not looked at further."""
    database = one.database
    if database is None:  # said by whoever tried to open it
        return
    try:
        database.check()
    except LooplineError as error:
        means = "Pages of the file are not as SQLite wrote them: a failing disk, or a copy that was made while it was written."
        yield Finding(error.code, "error", error.message, means, error.remedy)
        return
    try:
        check_schema(database)
    except LooplineError as error:
        yield from _schema(one, error)
        return
    with database.reading() as tx:
        for project in chain.projects(tx):
            try:
                chain.verify(tx, project)
            except LooplineError as error:
                means = (
                    "An entry was changed, removed or put in after it was written: what it tells cannot be relied on."
                )
                yield Finding(error.code, "error", error.message, means, error.remedy)


def _schema(one: Examined, error: LooplineError) -> Iterator[Finding]:
    database = one.database
    if database is None or error.code != "database.schema_outdated":
        means = "A later version of Loopline has been here. This one would misread what it wrote."
        yield Finding(error.code, "error", error.message, means, error.remedy)
        return
    means = "The next command that opens the home brings it up to date; there is no way back but a backup."
    yield Finding(error.code, "warning", error.message, means, error.remedy, lambda: f"upgraded to {upgrade(database)}")
