"""Actions are named callables. The app registers them, so that watching need not know how to train.

An action is prepared first, which may take minutes and changes no control state; then it is committed in the same
transaction as the record that it was done. So a process that dies in between has done nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from loopline.errors import NotFound
from loopline.storage.database import Transaction


class Cause(msgspec.Struct, frozen=True):
    """Why an action is carried out: its idempotency key, a sentence, who asks, the incident it answers, if any; whether a
    training is to search its parameters anew, and what else the playbook says of how it is to be done.
    """

    key: str
    sentence: str
    actor: str
    at: datetime
    incident: str | None = None
    search: bool = False
    terms: dict[str, Any] = {}


class Outcome(msgspec.Struct, frozen=True):
    """What came of an action. `changed` says whether something else serves now; `evidence` holds no measured durations."""

    changed: bool
    sentence: str
    evidence: dict[str, Any] = msgspec.field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """An action ready to be made so: `commit` writes it in the caller's transaction. `seconds` is what preparing took."""

    commit: Callable[[Transaction], Outcome]
    seconds: dict[str, float] = field(default_factory=dict)


ActionCallable = Callable[[Cause], Prepared]


class Actions:
    """The registered actions of one lane."""

    def __init__(self, named: Mapping[str, ActionCallable]) -> None:
        self._named = dict(named)

    def prepare(self, name: str, cause: Cause) -> Prepared:
        """Prepare the action. Raises `NotFound` for a name nobody registered."""
        if name not in self._named:
            raise NotFound(
                "action.unknown",
                f"no action is called {name!r}",
                remedy=f"Registered are: {', '.join(sorted(self._named))}.",
            )
        return self._named[name](cause)
