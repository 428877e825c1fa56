"""A search outside of a turn, on the data there is: what was tried, what won, and which parameters matter."""

from datetime import datetime

import msgspec

from loopline.errors import NotFound
from loopline.loop.declare import Loop
from loopline.loop.history import History
from loopline.loop.lane import Lane, lanes
from loopline.loop.resources import Resources
from loopline.loop.search import Progress, definition, run_search
from loopline.loop.training_rows import training_rows
from loopline.runs import searches
from loopline.runs.searches import Search, Trial
from loopline.training.sampler import importance
from loopline.training.trials import Best


class SearchReport(msgspec.Struct, frozen=True):
    """A search and its trials. `rows` were searched on; `before` trials were there already; `importance` is the share of the
    loss's variance that each parameter explains.
    """

    search: Search
    rows: int
    before: int
    trials: list[Trial]
    best: Best
    importance: dict[str, float]


def search_now(
    resources: Resources,
    loop: Loop,
    *,
    model: str | None = None,
    as_of: datetime | None = None,
    trials: int | None = None,
    new: bool = False,
    progress: Progress = lambda *_: None,
) -> SearchReport:
    """Search, or go on with the last search of this model by this definition, unless `as_of` or `new` asks for another.

    The loop's next training uses what is found. Raises `NotFound` for a model that is not operated or searches nothing and
    `InvalidInput` for too few rows.
    """
    lane = _lane(resources, loop, model)
    with resources.database.reading() as tx:
        last = searches.latest(tx, lane.project, lane.model, definition(lane), concluded=False)
        before = len(searches.trials(tx, last.search_id)) if last else 0
    moment = as_of or (last.as_of if last and not new else resources.clock.now())
    rows, _ = training_rows(resources, lane, History(resources.tables), moment)
    found = run_search(resources, lane, rows, as_of=moment, trials=trials, progress=progress)
    with resources.database.reading() as tx:
        made = searches.trials(tx, found.search_id)
    same = last is not None and last.search_id == found.search_id
    space = lane.operation.model.search.space if lane.operation.model.search else {}
    return SearchReport(
        search=found,
        rows=rows.frame.height,
        before=before if same else 0,
        trials=made,
        best=msgspec.convert(found.result, Best),
        importance=importance(space, made, seed=found.seed),
    )


def _lane(resources: Resources, loop: Loop, model: str | None) -> Lane:
    """The loop's own lane of the model; without a name, of the one that declares a search."""
    own = lanes(loop, seed=resources.seed, compare=False)
    searching = [lane for lane in own if lane.operation.model.search]
    chosen = [lane for lane in own if lane.model == model] if model else searching
    if len(chosen) != 1:
        names = ", ".join(lane.model for lane in searching) or "none"
        raise NotFound(
            "search.which_model",
            f"{model or 'no one model'} is a model of {loop.name} with a search",
            remedy=f"Name one with --model; these declare a search and are operated: {names}.",
        )
    return chosen[0]
