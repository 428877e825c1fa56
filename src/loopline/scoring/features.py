"""Where the engine finds the features that the caller does not send."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import structlog

from loopline.errors import told
from loopline.features.definitions import View, feature_names, reach
from loopline.scoring.columns import Columns, as_list
from loopline.scoring.contract import FEATURE_MISSING

FEATURE_STALE = "feature_stale"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LookedUp:
    """Feature values by name, one for each row, and codes of what was wrong with the look-up as a whole."""

    values: Mapping[str, Sequence[Any]]
    codes: tuple[str, ...] = ()


NOTHING = LookedUp({})


class FeatureReader(Protocol):
    """Gives each row's features as they were at its time. `entities` are the columns it looks rows up by."""

    entities: Sequence[str]

    def read(self, columns: Columns, at: Sequence[datetime]) -> LookedUp: ...


class NoFeatures:
    """For a model whose every field the caller sends."""

    entities: Sequence[str] = ()

    def read(self, columns: Columns, at: Sequence[datetime]) -> LookedUp:  # noqa: ARG002 - the protocol's
        return NOTHING


class OnlineValues(Protocol):
    """What this needs of the online store; `loopline.features.online.OnlineFeatures` is one."""

    def read(
        self, views: Sequence[View], rows: Sequence[Mapping[str, Any]], at: Sequence[datetime]
    ) -> Mapping[str, Sequence[Any]]: ...

    def freshness(self, view: View) -> datetime | None: ...


class OnlineReader:
    """Reads the features of `views` from the online store; answers with gaps, and says so, where the store does not answer.

    `connect` opens the store, and is tried again with every request until it succeeds: a scoring process may start first.
    """

    def __init__(self, connect: Callable[[], OnlineValues], views: Sequence[View]) -> None:
        self.entities: Sequence[str] = tuple(dict.fromkeys(view.by for view in views))
        self._connect = connect
        self._online: OnlineValues | None = None
        self._views = tuple(views)
        self._reaches = tuple(reach(view) for view in views)
        self._names = tuple(name for view in views for name in feature_names(view))
        self._known: dict[int, datetime] = {}
        self._failed = False

    def read(self, columns: Columns, at: Sequence[datetime]) -> LookedUp:
        """The features of each row at its time.

        Codes: `feature_missing:<feature>` for each of them where the store does not answer; `feature_stale:<table>` where
        nothing of a view's table became known for so long before a row's time that no entity can have a value left.
        """
        try:
            online = self._online = self._online or self._connect()
            found = online.read(self._views, self._rows(columns), at)
            codes = self._stale(online, max(at))
        except Exception as error:  # whatever fails in the store, the model still answers
            self._note_failure(error)
            return LookedUp({}, tuple(f"{FEATURE_MISSING}:{name}" for name in self._names))
        self._failed = False
        return LookedUp(found, codes)

    def _rows(self, columns: Columns) -> list[dict[str, Any]]:
        values = zip(*(as_list(columns[name]) for name in self.entities), strict=True)
        return [dict(zip(self.entities, row, strict=True)) for row in values]

    def _stale(self, online: OnlineValues, at: datetime) -> tuple[str, ...]:
        stale = [view.table for place, view in enumerate(self._views) if self._is_stale(online, place, at)]
        return tuple(f"{FEATURE_STALE}:{table}" for table in dict.fromkeys(stale)) if stale else ()

    def _is_stale(self, online: OnlineValues, place: int, at: datetime) -> bool:
        # What is known only grows, so the store is asked again only where what it said last would not do.
        if not self._too_old(place, at):
            return False
        known = online.freshness(self._views[place])
        if known is not None:
            self._known[place] = known
        return self._too_old(place, at)

    def _too_old(self, place: int, at: datetime) -> bool:
        known, longest = self._known.get(place), self._reaches[place]
        return known is None or (longest is not None and known <= at - longest)

    def _note_failure(self, error: Exception) -> None:
        if not self._failed:  # once, until it answers again: not a line a request
            self._failed = True
            _log.error("online store fails", error=told(error))
