"""Exploration while scoring: which predictions take another action than the decision's, within the bounds of a day."""

import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from loopline.decisions.actions import actions_of
from loopline.decisions.decision import AnyDecision
from loopline.decisions.expected import extra_cost
from loopline.decisions.exploration import Chosen, Exploration, choose, pool
from loopline.decisions.policy import ABSTAIN
from loopline.storage.files import write_file


class _Spent(msgspec.Struct, frozen=True):
    """The ids of one day's predictions that took another action than the decision's."""

    day: str
    ids: list[str]


class DayBudget:
    """How many predictions took another action than the decision's, by day of UTC. Safe to share between threads.

    With `path` the count survives the process: it is written before the prediction is answered. `share` says which of how many
    workers it belongs to, from (0, 1); each may use an equal part of a day's limit.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        spent: Iterable[str] = (),
        day: str = "",
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self._path = path
        self._slot, self._of = share
        self._lock = threading.Lock()
        self._day, self._ids = day, set(spent)
        if path is not None and path.exists():
            kept = _read(path)
            self._day, self._ids = kept.day, set(kept.ids)

    def take(self, prediction_id: str, decided: str, day: str, limit: int, draw: Callable[[], Chosen]) -> Chosen:
        """The draw, where there is room for one on this day; else the decided action, which is certain then.

        An id that was counted before is not counted again, and has room.
        """
        limit = limit // self._of + (self._slot < limit % self._of)
        with self._lock:
            if day > self._day:
                self._day, self._ids = day, set()
            if len(self._ids) >= limit and prediction_id not in self._ids:
                return Chosen(decided, 1.0)
            chosen = draw()
            if chosen.action != decided and prediction_id not in self._ids:
                self._ids.add(prediction_id)
                self._keep()
            return chosen

    def _keep(self) -> None:
        if self._path is not None:
            write_file(self._path, msgspec.json.encode(_Spent(self._day, sorted(self._ids))))


def _read(path: Path) -> _Spent:
    """A file that cannot be read counts for nothing: the bound of one day is not worth a scoring process that does not start."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Spent)
    except (msgspec.DecodeError, OSError):
        return _Spent("", [])


class Explorer:
    """Chooses the action of each prediction of one deployment. Without an exploration the decided one is certain."""

    def __init__(self, spec: Exploration | None, decision: AnyDecision, budget: DayBudget | None = None) -> None:
        self._spec = spec
        self._decision = decision
        self._known = actions_of(decision)
        self._budget = budget or DayBudget()

    @property
    def explores(self) -> bool:
        """Whether any action is drawn at all."""
        return self._spec is not None

    def choose(self, prediction_id: str, decided: str, output: Any, *, scored_at: datetime, in_health: bool) -> Chosen:
        """The action of one prediction. `in_health` is false for an answer that is degraded or a fallback: those never explore, and
        neither does one that abstained.
        """
        spec = self._spec
        if spec is None or not in_health or decided == ABSTAIN or not decided:
            return Chosen(decided, 1.0)
        drawn = pool(spec, decided, self._known, extra_cost(self._decision, output, decided))

        def draw() -> Chosen:
            return choose(spec.share, drawn, decided, prediction_id)

        if spec.at_most_per_day is None:
            return draw()
        return self._budget.take(prediction_id, decided, f"{scored_at:%Y-%m-%d}", spec.at_most_per_day, draw)
