"""Spools and journals: what was acknowledged and is not yet where it belongs."""

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from loopline.app.doctor.finding import Examined, Finding
from loopline.errors import Conflict
from loopline.runs.journal import is_held, journals
from loopline.runs.recovery import recover
from loopline.scoring.shipper import ship_all
from loopline.scoring.spool_folder import CORRUPT, OPEN, SEALED, TORN, SpoolFolder
from loopline.storage.database import Database


def check(one: Examined) -> Iterator[Finding]:
    """Segments that wait, were cut or are damaged; metrics of runs whose process died."""
    for folder in sorted(path for path in one.settings.spool_path.glob("*") if (path / "spool.json").exists()):
        yield from _of(one, SpoolFolder(folder))
    yield from _journals(one)


def _of(one: Examined, spool: SpoolFolder) -> Iterator[Finding]:
    waiting = spool.numbers(OPEN, SEALED)
    if waiting and not _is_owned(spool):
        yield Finding(
            "spool.waiting",
            "warning",
            f"{spool.path} holds {len(waiting)} segments, and the process that wrote them is gone",
            "Predictions that were acknowledged are not in their table yet. They are safe; monitors do not see them.",
            "Start `loopline up`, or let --mend ship them.",
            lambda: _ship(one),
        )
    if damaged := spool.numbers(CORRUPT):
        yield Finding(
            "spool.damaged",
            "error",
            f"{spool.path} holds {len(damaged)} segments that are damaged: {', '.join(map(str, damaged))}",
            "Their bytes changed on the disk. Their predictions were acknowledged and are not in their table.",
            "Look for other damage on this disk. Put the files back from a backup as NUMBER.sealed, or move them away.",
        )
    if torn := spool.numbers(TORN):
        yield Finding(
            "spool.torn",
            "note",
            f"{spool.path} keeps {len(torn)} torn ends",
            "A process was killed while it appended. What was cut was never acknowledged.",
            "Nothing has to be done. --mend removes them.",
            lambda: _drop(spool.segment(number, TORN) for number in torn),
        )


def _journals(one: Examined) -> Iterator[Finding]:
    folder = one.settings.home / "runs"
    left = [path for _, path in journals(folder) if not is_held(path) and path.stat().st_size]
    if left and one.database is not None:
        database = one.database
        yield Finding(
            "run.journal_waiting",
            "warning",
            f"{len(left)} journals of runs hold metrics, and the processes that logged them are gone",
            "These metrics are not in the database yet. They are safe.",
            "Any `loopline runs` command takes them over, and so does --mend.",
            lambda: _recover(database, folder, len(left)),
        )


def _recover(database: Database, folder: Path, count: int) -> str:
    recover(database, folder)
    return f"took over {count} journals"


def _ship(one: Examined) -> str:
    shipped = ship_all(one.settings.spool_path, one.tables)
    return f"shipped {shipped.rows} predictions in {shipped.segments} segments"


def _drop(paths: Iterator[Path]) -> str:
    names = []
    for path in paths:
        path.unlink(missing_ok=True)
        names.append(path.name)
    return f"removed {', '.join(names)}"


def _is_owned(spool: SpoolFolder) -> bool:
    with suppress(Conflict), closing(spool.writer_lock()):
        return False
    return True
