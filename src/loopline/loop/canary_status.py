"""How the canaries stand: what the log says so far, how near that is to a verdict, and what they wait for."""

import msgspec

from loopline.gates import variants
from loopline.gates.variants import CANARY, RUNNING, Deployed
from loopline.loop.canary import Measure, held, judge
from loopline.loop.canary_rows import progress_of
from loopline.loop.owner import declared_people
from loopline.loop.resources import Resources
from loopline.storage.database import Transaction


class CanaryStatus(msgspec.Struct, frozen=True):
    """A variant that was deployed; for a canary also its measures and, where a verdict is held back, by what (`waits`)."""

    deployed: Deployed
    measures: tuple[Measure, ...] = ()
    waits: str = ""


def canaries(
    resources: Resources, project: str, *, model: str | None = None, also_ended: bool = False
) -> list[CanaryStatus]:
    """What runs beside champions, oldest first; with `also_ended` what ever did."""
    with resources.database.reading() as tx:
        found = variants.find(tx, project, model=model, only_running=not also_ended)
        return [_status(resources, tx, one) for one in found]


def _status(resources: Resources, tx: Transaction, one: Deployed) -> CanaryStatus:
    if one.role != CANARY or one.terms is None:
        return CanaryStatus(one)
    now = resources.clock.now()
    verdict = judge(one, progress_of(one), one.terms, now)
    waits = ""
    if one.state == RUNNING and verdict.action:
        waits = held(tx, one.project, declared_people(tx, one.project), verdict.action, now)
    return CanaryStatus(one, verdict.measures, waits)
