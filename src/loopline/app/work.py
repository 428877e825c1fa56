"""What the lanes work with: their actions, registered by name."""

from loopline.incidents.actions import ActionCallable, Actions, Cause, Prepared
from loopline.incidents.measures import ENDS, QUARANTINE_SOURCE, SERVE_FALLBACK, WIDEN_BAND
from loopline.loop.abroad import pinned
from loopline.loop.ask_labels import prepare_asking
from loopline.loop.decision_rollback import prepare_decision_rollback
from loopline.loop.declare import Loop
from loopline.loop.deployment import Predictors
from loopline.loop.history import History
from loopline.loop.inputs import References
from loopline.loop.lane import Lane, lanes
from loopline.loop.lasting import (
    prepare_end_fallback,
    prepare_fallback,
    prepare_narrowing,
    prepare_quarantine,
    prepare_release,
    prepare_widening,
)
from loopline.loop.notices import tell_owner
from loopline.loop.release import PROMOTE, prepare_promotion
from loopline.loop.resources import Resources
from loopline.loop.retrain import Candidate, prepare_retrain
from loopline.loop.rollback import prepare_rollback
from loopline.loop.trainings import Trainings
from loopline.loop.turn import LaneWork


def lane_works(resources: Resources, loop: Loop, history: History, *, compare: bool) -> list[LaneWork]:
    """The work of each lane of the loop; with `compare` also of the policies it is compared with."""
    predictors, references, trainings = Predictors(resources), References(resources), Trainings[Candidate]()
    return [
        LaneWork(
            resources,
            lane,
            history,
            predictors,
            references,
            actions_of(resources, lane, history, predictors, trainings),
        )
        for lane in lanes(loop, seed=resources.seed, compare=compare)
    ]


def actions_of(
    resources: Resources, lane: Lane, history: History, predictors: Predictors, trainings: Trainings[Candidate]
) -> Actions:
    """The actions a playbook can name."""
    if resources.crew is not None:
        pinned(lane.operation.model.fit)  # now, before somebody edits the file

    def retrain(cause: Cause) -> Prepared:
        return prepare_retrain(resources, lane, history, predictors, cause, trainings=trainings)

    def roll_back(cause: Cause) -> Prepared:
        return prepare_rollback(resources, lane.project, lane.model, predictors, cause)

    def promote(cause: Cause) -> Prepared:
        return prepare_promotion(resources, lane, predictors, cause)

    def roll_back_decision(cause: Cause) -> Prepared:
        return prepare_decision_rollback(resources, lane.project, lane.model, cause)

    def notify(cause: Cause) -> Prepared:
        return Prepared(lambda tx: tell_owner(tx, lane, cause))

    return Actions(
        {
            "retrain": retrain,
            "roll_back": roll_back,
            "roll_back_decision": roll_back_decision,
            PROMOTE: promote,
            "notify": notify,
            "ask_for_labels": lambda cause: prepare_asking(resources, lane, history, cause),
            **_measures(resources, lane, predictors),
        }
    )


def _measures(resources: Resources, lane: Lane, predictors: Predictors) -> dict[str, ActionCallable]:
    """What lasts until it is over, and what ends it."""
    begin: dict[str, ActionCallable] = {
        SERVE_FALLBACK: lambda cause: prepare_fallback(lane, cause),
        WIDEN_BAND: lambda cause: prepare_widening(resources, lane, cause),
        QUARANTINE_SOURCE: lambda cause: prepare_quarantine(lane, cause),
    }
    end: dict[str, ActionCallable] = {
        ENDS[SERVE_FALLBACK]: lambda cause: prepare_end_fallback(lane, predictors, cause),
        ENDS[WIDEN_BAND]: lambda cause: prepare_narrowing(resources, lane, cause),
        ENDS[QUARANTINE_SOURCE]: lambda cause: prepare_release(lane, cause),
    }
    return begin | end
