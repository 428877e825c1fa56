"""Choosing an amount for a number that is not known yet: how much to stock, to reserve, to staff."""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput

Floats = npt.NDArray[np.float64]


class AmountCosts(msgspec.Struct, frozen=True, tag="amount"):
    """What a person declares: the cost of each unit that was missing (`under`) and of each that was too many (`over`)."""

    under: float
    over: float

    def fit(self, levels: tuple[float, ...]) -> "AmountDecision":
        """The decision for quantiles at `levels`, or for single values (no levels)."""
        return AmountDecision(self.under, self.over, levels)


class AmountDecision(msgspec.Struct, frozen=True, tag="amount"):
    """The amount of least expected cost: the quantile at `under / (under + over)`, read between the levels that were predicted.

    Beyond the outermost levels their quantile is taken; of a single value, the value itself. A decision is the amount as text.
    Arrow, Harris and Marschak, Optimal inventory policy, 1951.
    """

    under: float
    over: float
    levels: tuple[float, ...] = ()

    @property
    def level(self) -> float:
        """The share of cases in which the amount suffices."""
        return self.under / (self.under + self.over)

    def decide(self, outputs: npt.ArrayLike) -> npt.NDArray[np.str_]:
        """The amount of each row, as text that reads back as the same number; empty for NaN."""
        return np.array(self.decide_each(np.asarray(outputs)), np.str_)

    def decide_each(self, outputs: npt.NDArray[np.floating[Any]]) -> list[str]:
        """As `decide`, as a list."""
        return [self._text(amount) for amount in self._amounts(outputs.astype(np.float64)).tolist()]

    def _amounts(self, outputs: Floats) -> Floats:
        if not self.levels:
            return outputs
        place = np.interp(self.level, self.levels, np.arange(len(self.levels)))
        low = int(place)
        high = min(low + 1, len(self.levels) - 1)
        share = place - low
        read: Floats = outputs[:, low] * (1 - share) + outputs[:, high] * share
        return read

    @staticmethod
    def _text(amount: float) -> str:
        return "" if np.isnan(amount) else repr(float(amount))

    def cost(self, decisions: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """What each amount cost once the number is known; NaN where either is not."""
        taken = pl.Series(np.asarray(decisions, dtype=np.str_)).cast(pl.Float64, strict=False)
        missing = np.asarray(y, dtype=np.float64) - taken.fill_null(np.nan).to_numpy()
        cost: Floats = np.maximum(self.under * missing, -self.over * missing)
        return cost


def amount_costs(under: float, over: float) -> AmountCosts:
    """Declare an amount by what a unit too few and a unit too many cost. Raises `InvalidInput` unless both cost something."""
    if not (0 < under < np.inf and 0 < over < np.inf):
        raise InvalidInput(
            "decision.amount_costs", "both costs must be positive", remedy="Write e.g. amount_costs(under=4, over=1)."
        )
    return AmountCosts(float(under), float(over))
