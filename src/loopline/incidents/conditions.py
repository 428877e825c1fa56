"""The conditions and actions that a loop file names."""

import math

from loopline.errors import InvalidInput
from loopline.incidents.playbook import (
    Action,
    Alarmed,
    DataFault,
    DecisionHarm,
    Grown,
    Harm,
    PreviousDecisionIsCheaper,
    PreviousIsBetter,
)
from loopline.monitoring.alarm_kinds import ESTIMATED_HARM, EXCEEDED, REGRET, UNFAIR

harm = Harm()
data_fault = DataFault()
previous_is_better = PreviousIsBetter()
decision_harm = DecisionHarm()
previous_decision_is_cheaper = PreviousDecisionIsCheaper()
estimated_harm = Alarmed(ESTIMATED_HARM, "the model is estimated to do more harm than was promised")
regret = Alarmed(REGRET, "another model loses less on the same rows")
unfair = Alarmed(UNFAIR, "a group fares worse than it did")
exceeded = Alarmed(EXCEEDED, "a rate lies above what is allowed")

retrain = Action("retrain")
roll_back = Action("roll_back")
roll_back_decision = Action("roll_back_decision")
notify = Action("notify")


def grown(factor: float) -> Grown:
    """There are `factor` times as many labelled rows as when a version was last trained. Raises `InvalidInput` for 1 or less, and infinity."""
    if not 1 < factor < math.inf:
        raise InvalidInput(
            "playbook.no_growth", f"grown({factor}) holds always or never", remedy="Give a factor above 1, e.g. 1.5."
        )
    return Grown(factor)
