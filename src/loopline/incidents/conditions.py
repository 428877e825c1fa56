"""The conditions and actions that a loop file names."""

import math

from loopline.errors import InvalidInput
from loopline.incidents.playbook import Action, DataFault, Grown, Harm, PreviousIsBetter

harm = Harm()
data_fault = DataFault()
previous_is_better = PreviousIsBetter()

retrain = Action("retrain")
roll_back = Action("roll_back")
notify = Action("notify")


def grown(factor: float) -> Grown:
    """There are `factor` times as many labelled rows as when a version was last trained. Raises `InvalidInput` for 1 or less, and infinity."""
    if not 1 < factor < math.inf:
        raise InvalidInput(
            "playbook.no_growth", f"grown({factor}) holds always or never", remedy="Give a factor above 1, e.g. 1.5."
        )
    return Grown(factor)
