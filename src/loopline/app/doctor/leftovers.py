"""What killed commands left behind."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from loopline.app.doctor.finding import Examined, Finding
from loopline.storage.files import PENDING

_HOUR = timedelta(hours=1)
_PROCESSES = Path("/proc")


def check(one: Examined) -> Iterator[Finding]:
    """Files without a name yet, batches that were begun, notes of processes that are gone."""
    home = one.settings.home
    pending = [path for path in home.rglob(f"{PENDING}*") if path.is_file() and _is_old(path, one.now)]
    if pending:
        yield Finding(
            "leftover.unfinished",
            "warning",
            f"{len(pending)} files were begun and not finished, such as {pending[0].relative_to(home)}",
            "A command was killed while it wrote. Nobody reads them; they take space.",
            "--mend removes them.",
            lambda: _drop(pending),
        )
    begun = sorted((home / "batch").glob("*/job.json"))
    if begun:
        yield Finding(
            "batch.begun",
            "note",
            f"{len(begun)} batches were begun and are not ended",
            "They are under way, or were killed: nothing of them is visible.",
            "Run the same `loopline score` again: it goes on where it was.",
        )
    if not one.running:
        gone = [path for path in (home / "log").glob("*.pid") if _is_dead(path)]
        if gone:
            yield Finding(
                "leftover.pid",
                "note",
                f"{gone[0].name} names a process that is gone",
                "It was killed. Nothing believes the file, since the lock on it went with the process.",
                "Nothing has to be done. --mend removes it.",
                lambda: _drop(gone),
            )


def _is_old(path: Path, now: datetime) -> bool:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) < now - _HOUR
    except FileNotFoundError:
        return False


def _is_dead(path: Path) -> bool:
    text = path.read_text(encoding="utf-8").strip()
    return text.isdigit() and not (_PROCESSES / text).exists()


def _drop(paths: list[Path]) -> str:
    for path in paths:
        path.unlink(missing_ok=True)
    return f"removed {len(paths)} files"
