"""A replay from the loop to the report: the home it lives in, its lanes, its comparison."""

from contextlib import closing, nullcontext
from datetime import datetime
from pathlib import Path

import msgspec

from loopline.app.home import open_home
from loopline.app.report.page import report_html
from loopline.app.work import lane_works
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.errors import NotFound
from loopline.loop import store
from loopline.loop.choose import Choice, check_choice, choose
from loopline.loop.compare import Comparison, compare
from loopline.loop.declare import Loop
from loopline.loop.history import History
from loopline.loop.lane import lanes
from loopline.loop.replay import Period, Progress, assumptions, replay, windows
from loopline.loop.resources import Resources
from loopline.loop.turn import LaneWork
from loopline.values import canonical_json


class Result(msgspec.Struct, frozen=True):
    """The comparison of one model's policies, where its report lies, and which policy was chosen, where that was asked for."""

    comparison: Comparison
    report: str
    choice: Choice | None = None


def run_replay(
    settings: Settings,
    loop: Loop,
    period: Period,
    *,
    seed: int,
    progress: Progress,
    report: Path | None = None,
    seconds: dict[str, float] | None = None,
    choose_until: datetime | None = None,
) -> list[Result]:
    """Replay the loop in a home of its own and compare its policies; one result for each operated model.

    With `choose_until` the policy that was cheapest until then is chosen, and reported on the rest. The page for people stays silent: a
    replay tells nobody. Raises as `replay`, `check_choice` and `choose`.
    """
    if choose_until is not None:
        check_choice(loop, period, choose_until)
    resources = open_home(settings, clock=ReplayClock(period.start), seed=seed, silent=True)

    def works(history: History) -> list[LaneWork]:
        return lane_works(resources, loop, history, compare=True)

    with closing(resources.crew) if resources.crew else nullcontext():
        replay(resources, loop, period, works, progress=progress, seconds=seconds)
    results = [_result(resources, loop, model, period, report, choose_until) for model in loop.operations]
    with resources.database.transaction() as tx:
        found = store.one_replay(tx, loop.name)
        if found is not None:
            store.put_replay(tx, loop.name, found["plan"], msgspec.json.decode(canonical_json(results)))
    return results


def results_of(resources: Resources, loop: str) -> list[Result]:
    """The results of the replay in this home. Raises `NotFound`."""
    with resources.database.reading() as tx:
        found = store.one_replay(tx, loop)
    if found is None or found["result"] is None:
        raise NotFound(
            "replay.none", f"there is no finished replay of {loop!r} here", remedy="Run `loopline replay FILE`."
        )
    return msgspec.convert(found["result"], list[Result])


def _result(
    resources: Resources, loop: Loop, model: str, period: Period, report: Path | None, choose_until: datetime | None
) -> Result:
    of_model = [lane for lane in lanes(loop, seed=resources.seed, compare=True) if lane.model == model]
    *_, (_, last, _) = windows(loop, period)
    comparison = compare(resources, of_model, start=period.start, until=last.end, assumptions=assumptions(loop))
    choice = choose(resources, of_model, period=period, choose_until=choose_until) if choose_until else None
    path = report or resources.manifests.parent / f"report-{model}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report_html(comparison, choice), encoding="utf-8")
    return Result(comparison, str(path), choice)
