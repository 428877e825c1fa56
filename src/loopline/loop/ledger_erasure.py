"""The ledger without a person's name. No entry should have one; where a person wrote it into a reason, the body is replaced."""

from collections.abc import Callable, Collection
from datetime import datetime

from loopline.access.erasure import Eraser, Removed, Target
from loopline.ledger import chain
from loopline.storage.database import Database

ACTOR = "erasure"


def eraser(database: Database, now: Callable[[], datetime]) -> Eraser:
    """Replaces the bodies that name the person; the chain holds, and says that it was done."""

    def sweep(target: Target, *, dry: bool) -> Collection[Removed]:
        with database.reading() if dry else database.transaction() as tx:
            counts: dict[str, int] = {}
            for project in chain.projects(tx):
                for entry in chain.entries(tx, project):
                    body = target.needles.hidden_in(entry.body)
                    if body == entry.body:
                        continue
                    counts[project] = counts.get(project, 0) + 1
                    if not dry:
                        chain.redact(tx, project, entry.seq, body, at=now(), actor=ACTOR, reason=target.erasure)
        return [Removed(f"ledger {project}", "bodies redacted", count) for project, count in counts.items()]

    return Eraser("ledger", sweep)
