"""The conditions and actions that a loop file names."""

import math
from collections.abc import Sequence

from loopline.errors import InvalidInput
from loopline.incidents.condition import (
    Alarmed,
    Causes,
    DataFault,
    DecisionHarm,
    Grown,
    Harm,
    PreviousDecisionIsCheaper,
    PreviousIsBetter,
    RetrainingPays,
)
from loopline.incidents.playbook import Action
from loopline.monitoring.alarm_kinds import ESTIMATED_HARM, EXCEEDED, MOVED, REGRET, UNFAIR
from loopline.monitoring.diagnosis.cause import BROKEN, KINDS
from loopline.values import duration

harm = Harm()
data_fault = DataFault()
previous_is_better = PreviousIsBetter()
decision_harm = DecisionHarm()
previous_decision_is_cheaper = PreviousDecisionIsCheaper()
estimated_harm = Alarmed(ESTIMATED_HARM, "the model is estimated to do more harm than was promised")
regret = Alarmed(REGRET, "another model loses less on the same rows")
unfair = Alarmed(UNFAIR, "a group fares worse than it did")
exceeded = Alarmed(EXCEEDED, "a rate lies above what is allowed")
moved = Alarmed(MOVED, "a figure has moved for good")
broken_data = Causes(tuple(sorted(BROKEN)))

retrain = Action("retrain")
roll_back = Action("roll_back")
roll_back_decision = Action("roll_back_decision")
notify = Action("notify")
serve_fallback = Action("serve_fallback")
quarantine_source = Action("quarantine_source")


def grown(factor: float) -> Grown:
    """There are `factor` times as many labelled rows as when a version was last trained. Raises `InvalidInput` for 1 or less, and infinity."""
    if not 1 < factor < math.inf:
        raise InvalidInput(
            "playbook.no_growth", f"grown({factor}) holds always or never", remedy="Give a factor above 1, e.g. 1.5."
        )
    return Grown(factor)


def cause(*kinds: str, among: int = 1, about: str | Sequence[str] = ()) -> Causes:
    """An open incident's diagnosis has a cause of one of these kinds among its `among` likeliest, about these columns or sources if said.

    Raises `InvalidInput` for a kind there is not, none, or an `among` below 1.
    """
    unknown = sorted(set(kinds) - KINDS)
    if unknown or not kinds or among < 1:
        raise InvalidInput(
            "playbook.cause",
            f"no diagnosis names {', '.join(unknown) or 'this'} among its {among} likeliest causes",
            remedy=f"Name one or more of {', '.join(sorted(KINDS))}, and 1 or more for among.",
        )
    return Causes(kinds, among, (about,) if isinstance(about, str) else tuple(about))


def retraining_pays(horizon: str) -> RetrainingPays:
    """A training is expected to save more within `horizon` than it costs, by the declared `prices`. Raises `InvalidInput` for no time."""
    if not duration(horizon):
        raise InvalidInput(
            "playbook.empty_horizon", f"retraining_pays({horizon!r}) holds no time", remedy='Write e.g. "60d".'
        )
    return RetrainingPays(horizon)


def widen_band(to: float) -> Action:
    """Let up to the share `to` of predictions abstain, until the incidents that it answers are over. Raises `InvalidInput` for no share."""
    if not 0 < to < 1:
        raise InvalidInput(
            "playbook.band", f"no band abstains on a share of {to}", remedy="Give one between 0 and 1, e.g. 0.2."
        )
    return Action("widen_band", terms={"to": float(to)})


def ask_for_labels(rows: int = 100) -> Action:
    """Ask the owner for the labels of so many recent predictions, drawn by chance. Raises `InvalidInput` below 1."""
    if rows < 1:
        raise InvalidInput("playbook.no_rows", f"{rows} rows say nothing", remedy="Ask for 1 or more, e.g. 100.")
    return Action("ask_for_labels", terms={"rows": rows})
