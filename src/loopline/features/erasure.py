"""A person in the online store: the views over the tables they were in are filed anew from what the tables hold then."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager

from loopline.access.erasure import Eraser, Removed, Target
from loopline.features.definitions import View
from loopline.features.online import OnlineFeatures
from loopline.tables.tables import Tables

OpenOnline = Callable[[], AbstractContextManager[OnlineFeatures | None]]


def eraser(online: OpenOnline, views: Callable[[], Sequence[View]], tables: Tables) -> Eraser:
    """Takes a person out of the store that `online` opens (None: there is none). `views` are those that are served.

    It comes after the tables.
    """

    def sweep(target: Target, *, dry: bool) -> Collection[Removed]:
        with online() as store:
            if store is None:
                return []
            filed = [view for view in views() if tables.exists(view.table)]
            entities = sum(store.holds(view, target.person.value) for view in filed)
            if not dry:
                opened = {name: tables.open(name) for name in {view.table for view in filed}}
                store.refile(filed, {name: table.without_erased(table.read()) for name, table in opened.items()})
        return [Removed("online store", "entities", entities)] if entities else []

    return Eraser("online", sweep)
