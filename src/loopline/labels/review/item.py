"""One item of the review queue: a prediction that a person is asked to label.

waiting ── claim ──► waiting, held by one reviewer until the lease ends
   ├── answer ──► answered ── answer, correcting ──► answered
   ├── skip, twice ──► skipped
   ├── expire ──► expired
   └── the true label came ──► told
"""

from datetime import datetime
from typing import Any

import msgspec

WAITING, ANSWERED, SKIPPED, EXPIRED, TOLD = "waiting", "answered", "skipped", "expired", "told"
STATES = (WAITING, ANSWERED, SKIPPED, EXPIRED, TOLD)
MOST_SKIPS = 2
"""So many reviewers say that they cannot tell, and nobody else is asked."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a reviewer said: the label (0 or 1, the place of a class, a number), who, when (UTC), with which note. `number` counts from 1;
    a later one corrects it.
    """

    number: int
    label: float
    by: str
    at: datetime
    note: str = ""


class ReviewItem(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction to be reviewed. `key` is that of the row of `keys_of` it was made for, `at` the moment it is for; times are UTC.

    `reason` is `"abstained"` or `"sampled"`, `propensity` the probability with which it was chosen, `priority` what a wrong decision is
    expected to cost. `held` says that `claimed_by` has it for now. `answers` are all that were given, oldest first; `told` is the
    true label where that came, too: it goes before what reviewers said.
    """

    id: str
    project: str
    model: str
    prediction_id: str
    key: str
    keys_of: str
    at: datetime
    scored_at: datetime
    model_version: int
    reason: str
    propensity: float
    priority: float
    entered_at: datetime
    expires_at: datetime
    state: str = WAITING
    claimed_by: str | None = None
    held: bool = False
    skipped_by: tuple[str, ...] = ()
    ended_at: datetime | None = None
    told: float | None = None
    told_at: datetime | None = None
    answers: tuple[Answer, ...] = ()

    @property
    def label(self) -> float | None:
        """What holds of what reviewers said; None before any did."""
        return self.answers[-1].label if self.answers else None


def read_item(row: dict[str, Any], answers: list[dict[str, Any]], now_ms: int) -> ReviewItem:
    """The item of a row of the database, at the database's time `now_ms`."""
    leased = row.pop("leased_until")
    held = row["state"] == WAITING and leased is not None and leased > now_ms
    said = tuple(Answer(**{name: one[name] for name in ("number", "label", "by", "at", "note")}) for one in answers)
    claimed = row["claimed_by"] if held else None
    return ReviewItem(**row | {"skipped_by": tuple(row["skipped_by"]), "claimed_by": claimed}, held=held, answers=said)
