"""What commands that were killed left unfinished: files without a name yet, and their folders of copies."""

from collections.abc import Callable, Collection
from pathlib import Path

from loopline.access.erasure import Eraser, Removed, Target
from loopline.executors import transit
from loopline.storage.files import PENDING
from loopline.storage.scratch import drop_left_behind


def eraser(roots: Callable[[], Collection[Path]], artifacts_url: str) -> Eraser:
    """Removes unfinished files below `roots`, whomever they are about, folders of copies whose process died, and rows that were on
    their way to jobs.
    """

    def sweep(target: Target, *, dry: bool) -> Collection[Removed]:  # noqa: ARG001 - as the protocol calls
        pending = sorted({path for root in roots() for path in root.rglob(f"{PENDING}*") if path.is_file()})
        if not dry:
            drop_left_behind()
            transit.drop(artifacts_url, transit.parcels(artifacts_url))
            for path in pending:
                path.unlink(missing_ok=True)
        return []

    return Eraser("leftovers", sweep)
