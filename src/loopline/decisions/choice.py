"""Choosing one of several classes, given what each confusion costs."""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.decisions.policy import ABSTAIN
from loopline.errors import InvalidInput

Floats = npt.NDArray[np.float64]


class ChoiceCosts(msgspec.Struct, frozen=True, tag="choice"):
    """What a person declares: the cost of choosing a class where another is true.

    `confusions` maps (true class, chosen class) as `"true>chosen"` to a cost; those not named cost `otherwise`. A `review` is what
    an abstention costs; None never abstains.
    """

    confusions: dict[str, float] = {}
    otherwise: float = 1.0
    review: float | None = None
    abstain_at_most: float = 0.0

    def matrix(self, classes: tuple[str, ...]) -> Floats:
        """The costs, shape (true, chosen), zero where right. Raises `InvalidInput` for a class there is not."""
        costs = np.full((len(classes), len(classes)), self.otherwise)
        np.fill_diagonal(costs, 0.0)
        for confusion, cost in self.confusions.items():
            true, _, chosen = confusion.partition(">")
            if true not in classes or chosen not in classes:
                raise InvalidInput(
                    "decision.unknown_class",
                    f"the cost of {confusion!r} names a class that the model has not",
                    remedy=f"Its classes are {', '.join(classes)}.",
                )
            costs[classes.index(true), classes.index(chosen)] = cost
        return costs

    def fit(self, reference: npt.ArrayLike, classes: tuple[str, ...]) -> "ChoiceDecision":
        """The decision; `reference` (rows, classes) are probabilities that size the share that abstains."""
        costs = self.matrix(classes)
        probabilities = np.asarray(reference, dtype=np.float64).reshape(-1, len(classes))
        price = np.inf
        if self.review is not None and self.abstain_at_most:
            expected = (probabilities @ costs).min(axis=1)
            allowed = int(self.abstain_at_most * len(expected))
            price = self.review
            if allowed < len(expected):
                price = max(price, float(np.partition(expected, -allowed - 1)[-allowed - 1]))
        rows = tuple(tuple(map(float, row)) for row in costs)
        return ChoiceDecision(classes, rows, float(self.review or 0.0), None if np.isinf(price) else price)


class ChoiceDecision(msgspec.Struct, frozen=True, tag="choice"):
    """The class of least expected cost; abstains where even that is expected to cost more than `price`.

    `costs` has shape (true, chosen) in the order of `classes`. Chow, On optimum recognition error and reject tradeoff, 1970.
    """

    classes: tuple[str, ...]
    costs: tuple[tuple[float, ...], ...]
    review: float
    price: float | None

    def decide(self, outputs: npt.ArrayLike) -> npt.NDArray[np.str_]:
        """The chosen class, or `"abstain"`, for each row of probabilities (n, classes). A row with NaN abstains."""
        expected = np.asarray(outputs, dtype=np.float64).reshape(-1, len(self.classes)) @ np.asarray(self.costs)
        unknown = np.isnan(expected).any(axis=1)
        best = np.where(unknown, 0, np.argmin(expected, axis=1))
        chosen = np.asarray(self.classes, dtype=np.str_)[best]
        dear = np.zeros(len(best), dtype=np.bool_) if self.price is None else expected.min(axis=1) > self.price
        return np.where(unknown | dear, ABSTAIN, chosen)

    def decide_each(self, outputs: npt.NDArray[np.floating[Any]]) -> list[str]:
        """As `decide`, as a list."""
        return self.decide(outputs).tolist()  # type: ignore[no-any-return]

    def cost(self, decisions: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """What each decision cost once the label (the place of the class, NaN for not known) is: `review` where it abstained."""
        taken, labels = np.asarray(decisions, dtype=np.str_), np.asarray(y, dtype=np.float64)
        places = {name: place for place, name in enumerate(self.classes)}
        chosen = np.array([places.get(str(name), -1) for name in taken], dtype=np.int64)
        known = ~np.isnan(labels) & (chosen >= 0)
        costs = np.full(len(taken), np.nan)
        costs[known] = np.asarray(self.costs)[labels[known].astype(np.int64), chosen[known]]
        costs[taken == ABSTAIN] = self.review
        return costs


def choice_costs(
    confusions: dict[tuple[str, str], float] | None = None,
    *,
    otherwise: float = 1.0,
    review: float | None = None,
    abstain_at_most: float = 0.0,
) -> ChoiceCosts:
    """Declare a choice by what confusions cost: `{("stop", "go"): 50}` is choosing go where stop is true.

    Raises `InvalidInput` for costs that are negative or not finite, and for a share that is none.
    """
    named = {f"{true}>{chosen}": float(cost) for (true, chosen), cost in (confusions or {}).items()}
    priced = [*named.values(), otherwise, *([] if review is None else [review])]
    if not all(0 <= cost < np.inf for cost in priced) or not 0 <= abstain_at_most <= 1:
        raise InvalidInput(
            "decision.choice_costs",
            "confusions, otherwise and review must cost 0 or more, and abstain_at_most be a share in [0, 1]",
            remedy='Write e.g. choice_costs({("stop", "go"): 50}, otherwise=1).',
        )
    return ChoiceCosts(named, float(otherwise), review, float(abstain_at_most))
