"""Whether what a playbook weighs has a price."""

from collections.abc import Iterable, Sequence

from loopline.errors import InvalidInput
from loopline.incidents.condition import RetrainingPays
from loopline.incidents.playbook import Response
from loopline.incidents.prices import Prices


def require_prices(playbooks: Iterable[Sequence[Response]], prices: Prices | None) -> None:
    """Raise as `priced` where one of them weighs a saving against a cost."""
    asked = [part for playbook in playbooks for one in playbook for part in one.parts()]
    if any(isinstance(part, RetrainingPays) for part in asked):
        priced(prices)


def priced(prices: Prices | None) -> Prices:
    """The prices. Raises `InvalidInput` where none were declared."""
    if prices is None:
        raise InvalidInput(
            "operate.no_prices",
            "retraining_pays(...) weighs a saving against a cost, and neither has a price",
            remedy="Give operate(..., prices=ll.prices(loss=..., retrain=...)).",
        )
    return prices
