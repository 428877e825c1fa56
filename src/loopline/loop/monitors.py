"""Every further monitor that a loop declares for a model, advanced in a turn."""

from datetime import datetime

from loopline.errors import InvalidInput
from loopline.loop.change_watch import watch_change
from loopline.loop.custom_watch import note_failure, note_success, watch_custom
from loopline.loop.deployment import Predictors
from loopline.loop.estimated_watch import watch_estimated
from loopline.loop.extra_watch import watch_extra
from loopline.loop.fairness_watch import watch_fairness
from loopline.loop.further import Further, advance
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.loop.powered_watch import watch_powered
from loopline.loop.rate_watch import watch_rate
from loopline.loop.regret_watch import watch_regret
from loopline.loop.resources import Resources
from loopline.monitoring.alarm import Alarm
from loopline.monitoring.change import Change
from loopline.monitoring.custom import Custom
from loopline.monitoring.kinds import Estimated, Fairness, Powered, Rate, Regret
from loopline.monitoring.risk import Risk


def watch_further(
    resources: Resources, lane: Lane, history: History, predictors: Predictors, now: datetime
) -> list[Alarm]:
    """Let each of them see every whole block that is due by `now`; gives the alarms raised."""
    raised = []
    for watched in lane.operation.also:
        if isinstance(watched, Custom):
            raised += _custom(resources, lane, history, watched, now)
        else:
            raised += advance(resources, lane, _of(resources, lane, history, predictors, watched, now), now)
    return raised


def _custom(resources: Resources, lane: Lane, history: History, custom: Custom, now: datetime) -> list[Alarm]:
    """A function of the user's that fails stops nothing else."""
    try:
        raised = advance(resources, lane, watch_custom(resources, lane, history, custom, now), now)
    except InvalidInput as error:
        note_failure(resources, lane, custom, error, now)
        return []
    note_success(resources, lane, custom, now)
    return raised


def _of(
    resources: Resources,
    lane: Lane,
    history: History,
    predictors: Predictors,
    watched: Risk | Estimated | Powered | Regret | Fairness | Rate | Change,
    now: datetime,
) -> list[Further]:
    if isinstance(watched, Estimated):
        return watch_estimated(resources, lane, history, watched, now)
    if isinstance(watched, Powered):
        return watch_powered(resources, lane, history, watched, now)
    if isinstance(watched, Regret):
        return watch_regret(resources, lane, history, predictors, watched, now)
    if isinstance(watched, Fairness):
        return watch_fairness(resources, lane, history, watched, now)
    if isinstance(watched, (Rate, Change)):
        return (
            watch_rate(resources, lane, watched, now)
            if isinstance(watched, Rate)
            else watch_change(resources, lane, watched, now)
        )
    return watch_extra(resources, lane, history, watched, now)
