"""How the review queue stands: how many items where, and how often reviewers and true labels agree."""

from datetime import datetime

import msgspec

from loopline.labels.review import store
from loopline.labels.review.item import ANSWERED, EXPIRED, SKIPPED, TOLD, WAITING
from loopline.storage.database import Transaction, now_ms


class ReviewCounts(msgspec.Struct, frozen=True, kw_only=True):
    """One model's items: `waiting` (of which `held` by a reviewer now, the oldest since `oldest`), answered, skipped by too many, expired, and those whose
    true label came first (`told`). Of `compared` items with both, `agreed` had the same label. `by` counts the answers of each reviewer.
    """

    project: str
    model: str
    waiting: int
    held: int
    answered: int
    skipped: int
    expired: int
    told: int
    oldest: datetime | None
    compared: int
    agreed: int
    by: dict[str, int]


def waiting_by_model(tx: Transaction, project: str) -> dict[str, int]:
    """How many items of each model wait; models without any are left out."""
    return {row["model"]: row["items"] for row in store.count_states(tx, project) if row["state"] == WAITING}


def count(tx: Transaction, project: str) -> list[ReviewCounts]:
    """Each model's, by name."""
    states, now = store.count_states(tx, project), now_ms(tx)
    found = []
    for model in sorted({row["model"] for row in states}):
        of = {row["state"]: row for row in states if row["model"] == model}
        compared, agreed = store.compare_told(tx, project, model)
        found.append(
            ReviewCounts(
                project=project,
                model=model,
                **{
                    state: of[state]["items"] if state in of else 0
                    for state in (WAITING, ANSWERED, SKIPPED, EXPIRED, TOLD)
                },
                held=store.count_held(tx, project, model, now_ms=now, state=WAITING),
                oldest=of[WAITING]["oldest"] if WAITING in of else None,
                compared=compared,
                agreed=agreed,
                by=store.count_answers(tx, project, model),
            )
        )
    return found
