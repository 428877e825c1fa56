"""Where the engine finds the features that the caller does not send.

Where the store does not answer, or has nothing fresh, a feature is taken as it was last known, if that is not too long ago; else it is
missing. What is done about either is the contract's affair.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from typing import Any, Protocol

import structlog

from loopline.errors import InvalidInput, told
from loopline.features.definitions import View, feature_names, reach
from loopline.models.contract_terms import FLAGGED, ContractTerms
from loopline.models.ladder_terms import DEFAULT_LADDER, LadderTerms
from loopline.scoring.breaker import Breaker
from loopline.scoring.columns import Columns, Values, as_list
from loopline.scoring.last_known import LastKnown
from loopline.scoring.patience import Patience
from loopline.scoring.treatment import FEATURE_MISSING, FEATURE_STALE, Codes, Gaps

BREAKER_OPEN = "breaker_open"
DEADLINE = "deadline"

FEATURES = "features"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LookedUp:
    """Feature values by name, one for each row; codes of what was wrong with the look-up as a whole, and with that of each row; and
    which rows have no value for which feature because of that.
    """

    values: Mapping[str, Sequence[Any]]
    codes: tuple[str, ...] = ()
    rows: Codes | None = None
    gaps: Gaps = field(default_factory=dict)

    def taken(self, places: Sequence[int]) -> "LookedUp":
        """That of the rows at `places`, in that order, without the values."""
        gaps = {
            name: {new: found[old] for new, old in enumerate(places) if old in found}
            for name, found in self.gaps.items()
        }
        return LookedUp({}, self.codes, self.rows and [self.rows[place] for place in places], gaps)

    def joined(
        self, codes: Codes | None, count: int, used: Sequence[str] | None = None
    ) -> list[tuple[str, ...]] | None:
        """The codes of the look-up, of all rows and of each, then `codes`; None where there are none. Where only the features `used` are
        those of the model that answers, not what others lack.
        """
        if not self.codes and self.rows is None:
            return None if codes is None else list(codes)
        shared = self.codes if used is None else tuple(code for code in self.codes if _concerns(code, used))
        each = zip(self.rows or [()] * count, codes or [()] * count, strict=True)
        return [tuple(dict.fromkeys((*shared, *found, *own))) for found, own in each]


NOTHING = LookedUp({})


class FeatureReader(Protocol):
    """Gives each row's features as they were at its time, by `until` (`time.perf_counter`). `entities` are the columns it looks rows
    up by.
    """

    entities: Sequence[str]

    def read(self, columns: Columns, at: Sequence[datetime], until: float | None = None) -> LookedUp: ...


class NoFeatures:
    """For a model whose every field the caller sends."""

    entities: Sequence[str] = ()

    def read(self, columns: Columns, at: Sequence[datetime], until: float | None = None) -> LookedUp:  # noqa: ARG002 - the protocol's
        return NOTHING


class OnlineValues(Protocol):
    """What this needs of the online store; `loopline.features.online.OnlineFeatures` is one."""

    def read(
        self, views: Sequence[View], rows: Sequence[Mapping[str, Any]], at: Sequence[datetime]
    ) -> Mapping[str, Sequence[Any]]: ...

    def freshness(self, view: View) -> datetime | None: ...


@dataclass(frozen=True)
class _Answer:
    """What the store gave, and the places of the views that have nothing fresh."""

    values: Mapping[str, Sequence[Any]]
    stale: tuple[int, ...]


class OnlineReader:
    """Reads the features of `views` from the online store; answers with what was last known, or gaps, and says so, where the store
    does not answer. Used by one thread.

    `connect` opens the store, and is tried again with every request until it succeeds: a scoring process may start first. `now` is
    monotonic, in seconds.
    """

    def __init__(
        self,
        connect: Callable[[], OnlineValues],
        views: Sequence[View],
        *,
        contract: ContractTerms = FLAGGED,
        ladder: LadderTerms = DEFAULT_LADDER,
        breaker: Breaker | None = None,
        now: Callable[[], float] = perf_counter,
    ) -> None:
        self.entities: Sequence[str] = tuple(dict.fromkeys(view.by for view in views))
        self.breaker = breaker or Breaker(ladder.store_breaker, FEATURES)
        self._connect = connect
        self._online: OnlineValues | None = None
        self._views = tuple(views)
        self._reaches = tuple(reach(view) for view in views)
        self._names = tuple(tuple(feature_names(view)) for view in views)
        self._uses_stale = {
            name: contract.policy(FEATURE_STALE, name) == "flag" for names in self._names for name in names
        }
        self._last = LastKnown(ladder.stale_s)
        self._patience = Patience(now=now)
        self._now = now
        self._known: dict[int, datetime] = {}
        self._failed = False

    def read(self, columns: Columns, at: Sequence[datetime], until: float | None = None) -> LookedUp:
        """The features of each row at its time.

        Codes: `feature_missing:<feature>` for each of them where the store does not answer and nothing was known,
        `feature_stale:<feature>:<age>s` where it was; `feature_stale:<table>` where nothing of a view's table became known for so long
        before a row's time that no entity can have a value left. `breaker_open:features` and `deadline:features` say why the store was not
        asked, or not waited for.
        """
        rows = self._rows(columns)
        began = self._now()
        if not self.breaker.allows(began):
            return self._without(rows, at, (f"{BREAKER_OPEN}:{FEATURES}",))
        try:
            found = self._patience.call(lambda: self._asked(rows, at), until)
        except Exception as error:  # whatever fails in the store, the model still answers
            return self._without(rows, at, self._note_failure(error, began))
        now = self._now()
        self.breaker.succeeded(now, now - began)
        self._failed = False
        return self._with(found, rows, at, now)

    def _asked(self, rows: Sequence[Mapping[str, Any]], at: Sequence[datetime]) -> _Answer:
        online = self._online = self._online or self._connect()
        values = online.read(self._views, rows, at)
        latest = max(at)
        return _Answer(
            values, tuple(place for place in range(len(self._views)) if self._is_stale(online, place, latest))
        )

    def _rows(self, columns: Columns) -> list[dict[str, Any]]:
        values = zip(*(as_list(columns[name]) for name in self.entities), strict=True)
        return [dict(zip(self.entities, row, strict=True)) for row in values]

    def _with(self, found: _Answer, rows: Sequence[Mapping[str, Any]], at: Sequence[datetime], now: float) -> LookedUp:
        """What the store gave; of a view that has nothing fresh, what was last known."""
        for place in range(len(self._views)):
            if place not in found.stale:
                self._note(place, found.values, rows, at, now)
        if not found.stale:
            return LookedUp(found.values)
        mended = _Mended(len(rows), found.values)
        for place in found.stale:
            self._mend(mended, place, rows, at, otherwise=None)
        tables = dict.fromkeys(self._views[place].table for place in found.stale)
        return mended.looked_up(tuple(f"{FEATURE_STALE}:{table}" for table in tables))

    def _without(self, rows: Sequence[Mapping[str, Any]], at: Sequence[datetime], why: tuple[str, ...]) -> LookedUp:
        """What was last known of every view."""
        mended = _Mended(len(rows), {name: [None] * len(rows) for names in self._names for name in names})
        for place in range(len(self._views)):
            self._mend(mended, place, rows, at, otherwise=FEATURE_MISSING)
        gone = [name for name in self._uses_stale if mended.misses(name)]
        return mended.looked_up((*why, *(f"{FEATURE_MISSING}:{name}" for name in gone)))

    def _mend(
        self,
        mended: "_Mended",
        place: int,
        rows: Sequence[Mapping[str, Any]],
        at: Sequence[datetime],
        *,
        otherwise: str | None,
    ) -> None:
        """Put in what was last known of a view; where nothing was, `otherwise` is the violation, None to keep what the store says."""
        by, names, now = self._views[place].by, self._names[place], self._now()
        for index, row in enumerate(rows):
            known = self._last.find((place, row[by]), at[index], now)
            for number, name in enumerate(names):
                if not self._uses_stale[name] and (known is not None or otherwise is None):
                    mended.gap(index, name, FEATURE_STALE)
                elif known is not None:
                    mended.put(index, name, known[0][number], known[1])
                elif otherwise is not None:
                    mended.gap(index, name, otherwise)

    def _note(
        self,
        place: int,
        values: Mapping[str, Values],
        rows: Sequence[Mapping[str, Any]],
        at: Sequence[datetime],
        now: float,
    ) -> None:
        by = self._views[place].by
        each = zip(*(values[name] for name in self._names[place]), strict=True)
        for row, moment, own in zip(rows, at, each, strict=True):
            self._last.note((place, row[by]), moment, own, now)

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

    def _note_failure(self, error: Exception, began: float) -> tuple[str, ...]:
        if isinstance(error, InvalidInput):  # the rows' fault, such as a time that the store holds nothing of any more
            self.breaker.succeeded(self._now(), self._now() - began)
            return ()
        self.breaker.failed(self._now())
        if not self._failed:  # once, until it answers again: not a line a request
            self._failed = True
            _log.error("online store fails", error=told(error))
        return (f"{DEADLINE}:{FEATURES}",) if isinstance(error, TimeoutError) else ()


class _Mended:
    """Values of so many rows while what is missing is put in."""

    def __init__(self, count: int, values: Mapping[str, Sequence[Any]]) -> None:
        self._values = dict(values)
        self._own: set[str] = set()
        self._codes: list[tuple[str, ...]] = [()] * count
        self._gaps: dict[str, dict[int, str]] = {}
        self._count = count

    def put(self, index: int, name: str, value: Any, age: int) -> None:
        """A value that was known `age` seconds ago."""
        self._set(index, name, value)
        self._codes[index] = (*self._codes[index], f"{FEATURE_STALE}:{name}:{age}s")

    def gap(self, index: int, name: str, violation: str) -> None:
        """No value that may be used."""
        self._set(index, name, None)
        self._gaps.setdefault(name, {})[index] = violation

    def misses(self, name: str) -> bool:
        """Whether no row has a value of a feature, nor had one."""
        found = self._gaps.get(name, {})
        return len(found) == self._count and FEATURE_STALE not in found.values()

    def looked_up(self, codes: tuple[str, ...]) -> LookedUp:
        rows = self._codes if any(self._codes) else None
        return LookedUp(self._values, codes, rows, self._gaps)

    def _set(self, index: int, name: str, value: Any) -> None:
        if name not in self._own:
            self._own.add(name)
            self._values[name] = list(self._values[name])
        held: Any = self._values[name]
        held[index] = value


def _concerns(code: str, used: Sequence[str]) -> bool:
    violation, _, name = code.partition(":")
    return violation != FEATURE_MISSING or name in used
