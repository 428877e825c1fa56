"""Features in the online store: filed as rows become known, read at the request's time, equal to `point_in_time`."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import polars as pl

from loopline.features.definitions import View, check_views, reach
from loopline.features.entities import entity_name, entity_names
from loopline.features.filing import Changes, Filing
from loopline.features.history import KEY, KNOWN, history_columns, moments, table_of
from loopline.features.point_in_time import restrict
from loopline.features.records import Addresses, Meta, decode_meta, encode
from loopline.features.scratch import Scratch
from loopline.features.steps import Evaluation
from loopline.storage.key_values import KeyValues
from loopline.values import MICROSECOND, from_micros, micros

Value = float | str | None

_BATCH = 100_000
_PLANS = 256
_SWEEPS_PER_REACH = 4


class OnlineFeatures:
    """The features of any views over one key-value store. Many readers, one writer at a time; threads may share it.

    The store holds, per view and entity, every version that can count at or after the horizon; a latest view without
    `max_age` therefore never forgets a row.
    """

    def __init__(self, store: KeyValues) -> None:
        self._store = store
        self._plans: dict[int, _Plan] = {}

    def read(
        self, views: Sequence[View], rows: Sequence[Mapping[str, Any]], at: Sequence[datetime]
    ) -> dict[str, list[Value]]:
        """One list per feature with one value per row: the features as of the row's moment, from what the store knows.

        `rows` hold the views' entity columns (text or integers). An entity that is missing, None or unknown has no rows:
        its counts and sums are 0, the rest is None. All is read at one moment of the store. Raises `InvalidInput` for a
        moment without a zone or before the horizon of the entity's last update.
        """
        plans = [self._plan(view) for view in views]
        times = [micros(moment) for moment in at]
        addresses = [[plan.address(row) for row in rows] for plan in plans]
        distinct = list(dict.fromkeys(chain.from_iterable(addresses)))
        packed = dict(zip(distinct, self._store.get_many(distinct), strict=True))
        answer: dict[str, list[Value]] = {}
        for plan, asked in zip(plans, addresses, strict=True):
            found = [plan.evaluate(packed[address], time) for address, time in zip(asked, times, strict=True)]
            answer.update((name, [values[place] for values in found]) for place, name in enumerate(plan.evaluate.names))
        return answer

    def update(self, views: Sequence[View], table: str, rows: pl.DataFrame, *, horizon: datetime) -> None:
        """File newly known rows of a table for those of `views` that are over it, in one write.

        Rows come in any order, late, corrected, deleted or again: the same rows twice change nothing. (A version of a key
        may follow its successor for as long as the view reaches after the successor was known and happened.) What
        cannot count at `horizon` or later is dropped; answers from there on stay exact. A horizon before an earlier one
        counts as that one. Raises `InvalidInput` for columns that are missing or of a wrong type; nothing is written.
        """
        check_views(views)
        changes: Changes = {}
        over = [view for view in views if view.table == table]
        for view in over:
            changes |= self._filed(view, rows.select(history_columns(rows.columns, view)), micros(horizon))
        self._store.put_many(changes)
        for view in over:
            self._sweep_when_due(view)

    def prune(self, views: Sequence[View], *, horizon: datetime) -> None:
        """Drop what cannot count at `horizon` or later, for all entities. `update` does so now and then by itself."""
        for view in views:
            before = self._meta(view)
            meta = Meta(before.known, max(before.horizon, micros(horizon)), max(before.horizon, micros(horizon)))
            for changes in Filing(self._store, view, meta.horizon).swept():
                self._store.put_many(changes)
            self._store.put_many({Addresses(view).meta: encode(meta)})

    def rebuild(
        self, views: Sequence[View], history: Mapping[str, pl.DataFrame | pl.LazyFrame], *, horizon: datetime
    ) -> None:
        """Put the state that `history` gives, by table, in the place of what the store holds of `views`.

        Each view changes in one write, so readers see the old state or the new. Answers from `horizon` on are as if all
        rows had come through `update`. Needs memory for the state of one view. Raises `NotFound` for a missing table.
        """
        check_views(views)
        for view in views:
            fresh = _built(view, table_of(history, view.table).lazy(), horizon)
            stale: Changes = {address: None for address, _ in self._store.scan(Addresses(view).all)}
            self._store.put_many(stale | fresh)

    def refile(self, views: Sequence[View], history: Mapping[str, pl.DataFrame | pl.LazyFrame]) -> None:
        """File what `history` gives in the place of what the store holds of those of `views` it has, each with the horizon it has;
        what belongs to no view of `views` is deleted, and nothing deleted stays in the files.

        After rows were erased from tables. Raises `NotFound` for a missing table.
        """
        held = [view for view in views if self._store.get(Addresses(view).meta) is not None]
        for view in held:
            self.rebuild([view], history, horizon=from_micros(self._meta(view).horizon))
        known = tuple(Addresses(view).all for view in held)
        stray: Changes = {address: None for address, _ in self._store.scan(b"") if not address.startswith(known)}
        self._store.put_many(stray)
        self._store.forget()

    def holds(self, view: View, entity: str) -> bool:
        """Whether anything is filed under an entity."""
        return self._store.get(Addresses(view).filed(entity)) is not None

    def freshness(self, view: View) -> datetime | None:
        """The latest known time among the rows filed for a view; None before the first."""
        packed = self._store.get(Addresses(view).meta)
        return None if packed is None else from_micros(decode_meta(packed).known)

    def erase(self, views: Sequence[View], entity: str | int) -> None:
        """Delete what the store holds of an entity. Rows that are delivered again bring it back: erase the table first."""
        name = entity_name(entity)
        if name is not None:
            for view in views:
                self._store.put_many(Filing(self._store, view, self._meta(view).horizon).without(name))

    def _filed(self, view: View, rows: pl.DataFrame, horizon: int) -> Changes:
        if rows.is_empty():
            return {}
        before = self._meta(view)
        horizon = max(horizon, before.horizon)
        known = max(before.known, int(moments(rows, KNOWN).max()))
        meta = Meta(known, horizon, before.swept or horizon)
        return Filing(self._store, view, horizon).file(rows) | {Addresses(view).meta: encode(meta)}

    def _sweep_when_due(self, view: View) -> None:
        """Sweep a few times while the horizon moves by the view's reach: each record is swept a few times in its life."""
        age, meta = reach(view), self._meta(view)
        if age is not None and (meta.horizon - meta.swept) * _SWEEPS_PER_REACH >= age // MICROSECOND:
            self.prune([view], horizon=from_micros(meta.horizon))

    def _meta(self, view: View) -> Meta:
        packed = self._store.get(Addresses(view).meta)
        return Meta(known=0, horizon=0, swept=0) if packed is None else decode_meta(packed)

    def _plan(self, view: View) -> "_Plan":
        """Plans are found by the view's identity: comparing or digesting definitions would cost more than reading."""
        plan = self._plans.get(id(view))
        if plan is None or plan.view is not view:
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            plan = self._plans[id(view)] = _Plan(view)
        return plan


class _Plan:
    """A view made ready for reading. It keeps the view alive, so that its `id` stays its own."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.evaluate = Evaluation(view)
        self._addresses = Addresses(view)

    def address(self, row: Mapping[str, Any]) -> bytes:
        name = entity_name(row.get(self.view.by))
        return self._addresses.nobody if name is None else self._addresses.steps(name)


def _built(view: View, history: pl.LazyFrame, horizon: datetime) -> Changes:
    """The state of one view from nothing."""
    history = history.select(history_columns(history.collect_schema().names(), view))
    known = history.select(pl.col(KNOWN).max()).collect().item()
    scratch = Scratch()
    online = OnlineFeatures(scratch)
    for rows in _batches(restrict(history, view, horizon).collect(engine="streaming"), view):
        online.update([view], view.table, rows, horizon=horizon)
    if known is not None:
        scratch.put_many({Addresses(view).meta: encode(Meta(micros(known), micros(horizon), micros(horizon)))})
    return scratch.values


def _batches(rows: pl.DataFrame, view: View) -> Iterator[pl.DataFrame]:
    """Rows dealt so that all versions of a key come together, and mostly all rows of an entity."""
    count = max(1, -(-rows.height // _BATCH))
    home = rows.select(pl.col(KEY), name=entity_names(rows[view.by])).select(
        pl.col("name").drop_nulls().first().over(KEY)
    )
    batch = home["name"].hash() % count
    for part in range(count):
        yield rows.filter(batch == part)
