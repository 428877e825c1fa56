"""The rows due in a window, with their features: computed once, scored by every lane."""

from datetime import timedelta

import polars as pl

from loopline.features.definitions import reach
from loopline.features.point_in_time import restrict
from loopline.loop.history import History
from loopline.loop.lane import Lane
from loopline.training.subjects import known_at_their_time
from loopline.training.training_set import Recipe, features_of
from loopline.values import Window

# Before a source has given its first row, its table has no columns of its own.
NOBODY = pl.DataFrame(schema={"_key": pl.String(), "_event_time": pl.Datetime("us", "UTC")})


class Due:
    """Rows due by model and window. Lanes of one model share them; only the newest window is kept."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._kept: dict[str, tuple[Window, pl.DataFrame]] = {}

    def rows(self, lane: Lane, window: Window) -> pl.DataFrame:
        """`_key`, `_event_time` and all features of the rows whose time lies in the window, in order of time.

        Features are as known at each row's time, although the whole window is known by now.
        """
        kept = self._kept.get(lane.model)
        if kept and kept[0] == window:
            return kept[1]
        recipe = lane.recipe
        if self._history.known(recipe.table, window.end).is_empty():
            return NOBODY
        subjects = known_at_their_time(self._versions(recipe, window), at=recipe.at, window=window)
        history = {table: self._relevant(recipe, table, window) for table in {view.table for view in recipe.views}}
        frame = features_of(subjects, recipe, history)
        self._kept[lane.model] = (window, frame)
        return frame

    def _versions(self, recipe: Recipe, window: Window) -> pl.DataFrame:
        """All versions of the keys that have a version due in the window."""
        known = self._history.known(recipe.table, window.end)
        due = known.filter((pl.col(recipe.at) > window.start) & (pl.col(recipe.at) <= window.end)).select("_key")
        return known.join(due, on="_key", how="semi", maintain_order="left")

    def _relevant(self, recipe: Recipe, table: str, window: Window) -> pl.DataFrame:
        """What the view that looks back longest needs of the table."""
        views = [view for view in recipe.views if view.table == table]
        longest = max(views, key=lambda view: reach(view) or timedelta.max)
        return restrict(self._history.known(table, window.end), longest, since=window.start)
