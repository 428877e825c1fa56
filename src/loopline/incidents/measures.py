"""Measures: actions that last until what they answer is over. What is in force follows from the record of what was done."""

from datetime import datetime
from typing import Any

import msgspec

from loopline.incidents import store
from loopline.incidents.incident import OPEN, find
from loopline.storage.database import Transaction

SERVE_FALLBACK = "serve_fallback"
WIDEN_BAND = "widen_band"
QUARANTINE_SOURCE = "quarantine_source"
ENDS = {SERVE_FALLBACK: "end_fallback", WIDEN_BAND: "narrow_band", QUARANTINE_SOURCE: "release_source"}
"""What ends each of them."""


class Measure(msgspec.Struct, frozen=True):
    """One that is in force since a time, with what it was begun with; `answers` are the incidents that it is for."""

    name: str
    since: datetime
    answers: tuple[str, ...]
    evidence: dict[str, Any]

    @property
    def ends_by(self) -> str:
        """The action that ends it."""
        return ENDS[self.name]


def measure(tx: Transaction, project: str, model: str, name: str) -> Measure | None:
    """The measure of this name, where it is in force."""
    row = store.newest_action(tx, project, model, (name, ENDS[name]))
    if row is None or row["action"] != name:
        return None
    evidence = row["evidence"]
    return Measure(name, row["at"], tuple(evidence.get("answers", ())), evidence)


def all_in_force(tx: Transaction, project: str, model: str) -> list[Measure]:
    """Every measure of the model that is."""
    return [found for name in ENDS if (found := measure(tx, project, model, name)) is not None]


def in_force(tx: Transaction, project: str, model: str, name: str) -> bool:
    """Whether it is; an action that is no measure never is."""
    return name in ENDS and measure(tx, project, model, name) is not None


def over(tx: Transaction, project: str, model: str) -> Measure | None:
    """The first measure in force all of whose incidents are resolved; one that answers none is ended by people."""
    going_on = {one.id for one in find(tx, project) if one.state in OPEN}
    ended = (one for one in all_in_force(tx, project, model) if one.answers and not going_on & set(one.answers))
    return next(ended, None)
