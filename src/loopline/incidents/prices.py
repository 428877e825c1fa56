"""What harm, retraining and pages cost, in one unit of the user's choice: what retraining is weighed by, and policies are chosen by."""

import math

import msgspec

from loopline.errors import InvalidInput


class Prices(msgspec.Struct, frozen=True):
    """`loss` is what a unit of the watched loss costs on one prediction; `retrain` what a training costs, promoted or not; `page`
    what it costs to call a person.
    """

    loss: float
    retrain: float
    page: float = 0.0

    def total(self, *, loss: float, rows: int, retrains: int, pages: int) -> float:
        """What a mean loss over so many rows, trainings and pages cost together."""
        return self.loss * loss * rows + self.retrain * retrains + self.page * pages


def prices(*, loss: float, retrain: float, page: float = 0.0) -> Prices:
    """Declare what things cost. Raises `InvalidInput` unless `loss` is positive, the others not negative, and all finite."""
    if not (0 < loss < math.inf and 0 <= retrain < math.inf and 0 <= page < math.inf):
        raise InvalidInput(
            "operate.prices",
            f"nothing is weighed by loss={loss}, retrain={retrain}, page={page}",
            remedy="Give a price above 0 for a unit of loss, and of 0 or more for a training and a page, in one unit.",
        )
    return Prices(float(loss), float(retrain), float(page))
