"""A source, as declared: which rows, from where, how often, how fresh."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from loopline.features.definitions import Aggregate, LatestView, WindowView
from loopline.loop.mistake import blaming_caller
from loopline.loop.windowed import Windowed
from loopline.sources.crosswalk import Identity
from loopline.tables.source import SourceSpec
from loopline.values import Window

SourceFunction = Callable[[Window], pl.DataFrame]
Knowledge = Literal["measured", "assumed"]


@dataclass(frozen=True)
class Pushed:
    """What stands for the function of a source whose rows are pushed. `history` gives those from before, for replays."""

    history: SourceFunction | None = None

    def __call__(self, window: Window) -> pl.DataFrame:
        """The rows of `history`; those that were pushed are in the database."""
        return pl.DataFrame() if self.history is None else self.history(window)


@dataclass(frozen=True)
class Source:
    """A source: a function that is called for a window of known time and returns what became known in it.

    Ids in its rows are resolved by `identify`. It is asked `every` so often, for what became known until `settle` ago. Its newest row is to be no older than `freshness`.
    """

    loop: str
    spec: SourceSpec
    function: SourceFunction
    every: str
    known: Knowledge
    freshness: str | None = None
    settle: str = "0s"
    owner: str = ""
    identify: tuple[Identity, ...] = ()

    @property
    def table(self) -> str:
        """The table its rows go to."""
        return self.spec.name

    def features(self, *, by: str, **aggregates: Windowed) -> WindowView:
        """Sliding windows of this source's rows for each value of the column `by`.

        `delay=mean("arr_delay", over=["3h", "7d"])` by carrier gives the features `carrier_delay_3h` and
        `carrier_delay_7d`.
        """
        with blaming_caller():
            features = {
                f"{by}_{name}_{over}": Aggregate(op=windowed.op, column=windowed.column, over=over)
                for name, windowed in aggregates.items()
                for over in windowed.over
            }
            return WindowView(table=self.table, by=by, features=features)

    def latest(self, *columns: str, by: str, max_age: str | None = None) -> LatestView:
        """The last reported value of each column for each value of `by`, not older than `max_age`: `origin_visib` and so on."""
        with blaming_caller():
            return LatestView(
                table=self.table, by=by, features={f"{by}_{column}": column for column in columns}, max_age=max_age
            )
