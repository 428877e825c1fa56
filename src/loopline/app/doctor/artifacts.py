"""Artifacts: are those there that are needed, are they what their names say, and which does nobody name."""

from collections.abc import Iterator

from loopline.app.doctor.finding import Examined, Finding
from loopline.app.doctor.tables import OLD
from loopline.app.references import needed, unnamed
from loopline.errors import Corrupt, LooplineError, NotFound
from loopline.storage.database import Database


def check(one: Examined) -> Iterator[Finding]:
    """Each artifact that is needed is read; the others are only counted."""
    if one.database is None:
        return
    for digest, whose in sorted(needed(one.database, one.artifacts).items()):
        try:
            one.artifacts.get(digest)
        except (NotFound, Corrupt) as error:
            code = "artifact.missing" if isinstance(error, NotFound) else error.code
            yield Finding(
                code,
                "error",
                f"{whose} needs {digest}, which {'is not there' if isinstance(error, NotFound) else 'was damaged'}",
                "It cannot be loaded, served, rolled back to or explained.",
                "Put it back from a backup: its name is the same there.",
            )
    if one.deep:
        yield from _every(one)
    spare = _spare(one, one.database)
    if spare:
        yield Finding(
            "artifact.unnamed",
            "note",
            f"{len(spare)} artifacts are named by nothing",
            "They were put and what would name them was not committed, or what named them is gone. They take space.",
            "`loopline tidy` removes them once they are old enough.",
        )


def _spare(one: Examined, database: Database) -> list[str]:
    try:
        return unnamed(database, one.tables, one.artifacts, one.settings, before=one.now - OLD)
    except LooplineError:  # a table that cannot be read, of which the tables' check tells, may name any
        return []


def _every(one: Examined) -> Iterator[Finding]:
    for digest in sorted(one.artifacts.digests()):
        try:
            one.artifacts.get(digest)
        except LooplineError as error:
            means = "Its bytes changed on the disk. Whatever needs it fails."
            yield Finding(error.code, "error", error.message, means, error.remedy)
