"""A request on its way: what was asked by whom, in which parts, and what each was scored."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from time import perf_counter
from typing import Any

import msgspec
import polars as pl

from loopline.scoring.columns import Columns, Values
from loopline.scoring.contract import Cells, Contract
from loopline.scoring.features import NOTHING, LookedUp
from loopline.scoring.ladder import Scored
from loopline.scoring.treatment import Gaps, Matrix

_MILLISECONDS = 1000.0


class Asked(msgspec.Struct, gc=False):
    """A request that was found right: its rows with all that was looked up, what was wrong with the look-up, and how many seconds it
    took.
    """

    keys: list[str]
    times: list[datetime]
    values: Mapping[str, Values]
    carried: pl.DataFrame | None
    found: LookedUp = NOTHING
    looking_up: float = 0.0
    parts: tuple["Part", ...] = ()
    _cells: tuple[Contract, Cells] | None = None

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(self.keys)

    @property
    def gaps(self) -> Gaps:
        """By feature, the rows for which there is none, and why."""
        return self.found.gaps

    @property
    def refuses(self) -> bool:
        """Somebody waits who can be told that rows are refused."""
        return True

    def encode(self, contract: Contract) -> Matrix:
        """The matrix of a model's contract."""
        return contract.encode(self.values, self.count, self.cells(contract))

    def cells(self, contract: Contract) -> Cells:
        """The numbers of a contract: made once, for the model and for the log."""
        if self._cells is None or self._cells[0] is not contract:
            self._cells = contract, contract.cells(self.values, self.count)
        return self._cells[1]

    def cell(self, index: int, name: str) -> Any:
        """The value of one field in one row, None where there is none."""
        return self.values[name][index] if name in self.values else None

    def taken(self, places: Sequence[int]) -> "Asked":
        """The rows at `places`, in that order."""
        return Asked(
            [self.keys[place] for place in places],
            [self.times[place] for place in places],
            Columns(self.values, self.count).taken(places),
            None if self.carried is None else self.carried[list(places)],
            self.found.taken(places),
        )


class Part(msgspec.Struct, frozen=True, gc=False):
    """The rows of a request that fall to one variant, and their places in it."""

    variant: str
    places: Sequence[int]
    asked: Asked


class Shared(msgspec.Struct, frozen=True, gc=False):
    """What each part of a request was scored, and how long that took, in milliseconds."""

    parts: Sequence[Scored]
    took: Sequence[float]


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who asks; when the request arrived, and until when an answer is waited for, by `time.perf_counter`. With `request_id` the prediction ids follow from
    (principal, request id, key): a request that is sent again gets the same ids. `stages` is where whoever traces it wants to be told
    when each stage began and ended. `waited` are milliseconds that went to other rows of the request. `alone` says that nobody else
    asked of late.
    """

    principal: str | None = None
    request_id: str | None = None
    arrived: float | None = None
    deadline: float | None = None
    trace_id: str | None = None
    stages: list[tuple[str, float, float]] | None = None
    waited: float = 0.0
    alone: bool = False

    def latency_ms(self) -> float | None:
        """How long it took so far since the request arrived, without what others' rows of it took."""
        return None if self.arrived is None else (perf_counter() - self.arrived) * _MILLISECONDS - self.waited

    def by(self, share: float) -> float | None:
        """When that share of the time allowed is over; None where it is not limited."""
        if self.deadline is None or self.arrived is None:
            return self.deadline
        return self.arrived + share * (self.deadline - self.arrived)


NOBODY = Caller()
