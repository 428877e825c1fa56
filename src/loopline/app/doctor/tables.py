"""Tables: does every log agree with its files."""

from collections.abc import Iterator
from datetime import timedelta

from loopline.app.doctor.finding import Examined, Finding
from loopline.errors import LooplineError
from loopline.storage.objects import Objects

OLD = timedelta(days=1)
_SHOWN = 3


def check(one: Examined) -> Iterator[Finding]:
    """Logs that cannot be read, files that are gone or changed, files that no version has; and whether an object store is fit."""
    if "://" in one.settings.tables_url and not one.settings.tables_url.startswith("file://"):
        yield from _store(one.settings.tables_url)
    for name in one.tables.names():
        try:
            yield from _of(one, name)
        except LooplineError as error:
            means = f"The table {name} cannot be read from there on: trainings, features and scores that need it fail."
            yield Finding(error.code, "error", error.message, means, error.remedy)


def _of(one: Examined, name: str) -> Iterator[Finding]:
    table = one.tables.open(name)
    wrong = table.damage(deep=one.deep)
    if wrong:
        yield Finding(
            "table.damaged",
            "error",
            f"{name}: {len(wrong)} data files are wrong: {_some([f'{file} {what}' for file, what in wrong])}",
            "Rows are lost to every version that has these files; reading those fails or gives less than was written.",
            "Put the files back from a backup: their names are the same there.",
        )
    strays = table.strays(one.now - OLD)
    if strays:
        waiting = any((one.settings.home / "batch").glob("*/job.json"))
        yield Finding(
            "table.strays",
            "note" if waiting else "warning",
            f"{name}: {len(strays)} files belong to no version: {_some(strays)}",
            "Batches that are under way will bring them in; they are left."
            if waiting
            else "A writer was killed between writing and committing. They hold no rows that count, and take space.",
            "End the batches, and look again." if waiting else "--mend removes them.",
            None if waiting else lambda: f"removed {len(table.drop_strays(one.now - OLD))} files",
        )


def _store(url: str) -> Iterator[Finding]:
    probe = Objects(f"{url.rstrip('/')}/_doctor")
    probe.remove("once")
    first, second = probe.create("once", b"1"), probe.create("once", b"2")
    probe.remove("once")
    if not first or second:
        yield Finding(
            "table.store_unfit",
            "error",
            f"the store of {url} ignores the condition of a PUT",
            "Two writers at once are both told that they committed, and one's rows are lost.",
            "Use a store that honours `If-None-Match: *`, or a local disk.",
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
