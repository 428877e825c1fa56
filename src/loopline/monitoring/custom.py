"""A monitor of one's own: a few lines of Python over the predictions of a block, bet on like every other figure that is watched."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput, LooplineError
from loopline.monitoring.risk import RATE, Risk

Floats = npt.NDArray[np.float64]

_WITH_MEMORY = 2


class Custom(msgspec.Struct, frozen=True, tag="custom"):
    """What `monitor` makes of a function: called, it is still the function.

    The figure of a block is the mean of what its rows count, each from 0 to `highest`. It has risen where it lies above `at_most`, or more than
    `tolerance` above what the first blocks show. `remembers` says that the function is given what it returned of the block before, at
    first `start`.
    """

    name: str
    function: Callable[..., Any]
    at_most: float | None = None
    tolerance: float | None = None
    highest: float = 1.0
    labels: bool = False
    remembers: bool = False
    start: Any = None
    block: str = "1d"
    false_pages_per_year: float = 1.0
    min_rows: int = 200
    pages: bool = True

    @property
    def risk(self) -> Risk:
        """How it is bet on: above nothing."""
        allowed = self.at_most if self.at_most is not None else self.tolerance
        return Risk(RATE + self.name, allowed or 0.0, self.block, self.false_pages_per_year, "none", self.min_rows)

    def __call__(self, *given: Any) -> Any:
        """The function, for tests of it."""
        return self.function(*given)

    def __post_init__(self) -> None:
        limits = [limit for limit in (self.at_most, self.tolerance) if limit is not None]
        if len(limits) != 1 or not 0 < limits[0] < self.highest or not math.isfinite(self.highest):
            raise InvalidInput(
                "monitor.custom_limit",
                f"monitor {self.name!r} has no limit to hold its figure to",
                remedy="Write @ll.monitor(at_most=0.02), or @ll.monitor(tolerance=0.01) to learn what is usual; below highest (1.0).",
            )
        _ = self.risk

    def counts(self, rows: pl.DataFrame, memory: Any) -> tuple[Floats, Any]:
        """What each row counts (rows,), NaN for one that counts nothing, and what is to be remembered.

        Raises `InvalidInput` "monitor.custom_failed" for whatever the function raises, and "monitor.custom_value" for what is no figure of these rows.
        """
        try:
            returned = self.function(memory, rows) if self.remembers else self.function(rows)
        except LooplineError:
            raise
        except Exception as error:
            raise InvalidInput(
                "monitor.custom_failed",
                f"monitor {self.name!r} raised {type(error).__name__} on {rows.height} rows: {error}",
                remedy="Mend the function; `loopline watch --monitor FILE.py` tries it on files. No block is lost: it is asked for them again.",
            ) from error
        if not self.remembers:
            return self._counted(returned, rows.height), None
        if not isinstance(returned, tuple) or len(returned) != _WITH_MEMORY:
            raise self._no_figure(returned, "a pair of what to remember and the figure")
        return self._counted(returned[1], rows.height), self._kept(returned[0])

    def _counted(self, returned: Any, rows: int) -> Floats:
        if isinstance(returned, (int, float, np.number)):
            found = np.full(rows, float(returned))
        else:
            try:
                found = pl.Series(returned).cast(pl.Float64).fill_null(np.nan).to_numpy().astype(np.float64)
            except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
                raise self._no_figure(returned, "a number, or one for each row") from error
        if len(found) != rows or bool((found < 0).any()):
            raise self._no_figure(returned, f"a number of at least 0, or {rows} of them")
        return np.where(np.isfinite(found), np.minimum(found, self.highest), np.nan)

    def _kept(self, memory: Any) -> Any:
        try:
            return msgspec.json.decode(msgspec.json.encode(memory))
        except TypeError as error:
            raise self._no_figure(memory, "something to remember that JSON can hold") from error

    def _no_figure(self, returned: Any, wanted: str) -> InvalidInput:
        said = f"{len(returned)} values" if hasattr(returned, "__len__") else repr(returned)
        return InvalidInput(
            "monitor.custom_value",
            f"monitor {self.name!r} returned {type(returned).__name__} ({said}), and not {wanted}",
            remedy="Return a float for the block, or a Series as long as the rows with null where a row says nothing.",
        )


def monitor(
    *,
    at_most: float | None = None,
    tolerance: float | None = None,
    highest: float = 1.0,
    labels: bool = False,
    start: Any = None,
    block: str = "1d",
    false_pages_per_year: float = 1.0,
    min_rows: int = 200,
    pages: bool = True,
) -> Callable[[Callable[..., Any]], Custom]:
    """Make a monitor of a function over the predictions of a block, to be listed in `watch=`, or tried with `loopline watch --monitor`.

    The function takes a Polars frame, one row for each prediction in the order of time, with `at`, `score` (or `outputs`), `decision`, `model_version`,
    the features by name (`feature_x` for one that is called as another column), in a loop also `degraded` and `latency_ms`, and where `labels` says so `label`, once labels are due. It returns what each row
    counts (a Series, null for one that counts nothing) or one number for the block, from 0 to `highest`; what lies above counts as that.

    With two parameters it is streaming: it takes what it remembered and the frame, and returns what to remember and the figure. What is
    remembered begins with `start`, is anything that JSON holds, and moves with the monitor's watermark; other code begins anew.

    It pages where the figure lies above `at_most`, or more than `tolerance` above what the first eight blocks show, so that there are at
    most `false_pages_per_year` by chance however often one looks. Raises `InvalidInput` for limits that allow nothing or everything, and for a function of other parameters.
    """

    def made(function: Callable[..., Any]) -> Custom:
        taken = len(inspect.signature(function).parameters)
        if taken not in {1, _WITH_MEMORY}:
            raise InvalidInput(
                "monitor.custom_parameters",
                f"monitor {function.__name__!r} takes {taken} parameters",
                remedy="Write def NAME(rows), or def NAME(memory, rows) for one that remembers.",
            )
        return Custom(
            function.__name__,
            function,
            at_most,
            tolerance,
            highest,
            labels,
            taken == _WITH_MEMORY,
            start,
            block,
            false_pages_per_year,
            min_rows,
            pages,
        )

    return made
