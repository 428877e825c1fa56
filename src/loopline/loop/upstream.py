"""Upstream: what changed in the tables that a model reads, around the onset of a harm."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from loopline.features.definitions import feature_names
from loopline.loop.lane import Lane
from loopline.loop.resources import Resources
from loopline.monitoring.diagnosis.change import Change
from loopline.tables.log import TableVersion
from loopline.values import from_micros

TABLE_VERSION = "table_version"
BEFORE = 3
"""So many blocks before the earliest onset a change may have come and still be its cause: features look back."""
_USUAL = 40
"""So many versions before these say what is usual."""
_LEAST_VERSIONS = 3
_LEAST_ROWS = 20
_MORE_BAD = 0.02
_FEWER = 0.5
_EARLIER = 0.5


def changes_upstream(
    resources: Resources, lane: Lane, *, block: timedelta, earliest: datetime, latest: datetime
) -> list[Change]:
    """Versions of the tables that the model reads which came otherwise than those before, from three blocks before `earliest` to one
    after `latest`: read by other code of the source, with other columns, with more bad rows or far fewer rows.

    Rows before the first version of a table that the loop ingested itself are not known.
    """
    found = []
    for name in lane.recipe.tables:
        if resources.tables.exists(name):
            versions = _ingested(resources.tables.open(name).versions())
            reached = _reached(lane, name)
            for at, sentence, version in _odd(name, versions, earliest - BEFORE * block, latest + block):
                near = 1.0 if at >= earliest - block else _EARLIER
                subject = f"{name} version {version}"
                found.append(Change(TABLE_VERSION, subject, at, sentence, reached, near))
    return found


def _ingested(versions: Sequence[TableVersion]) -> list[TableVersion]:
    told = [one for one in versions if one.sequence is not None and "quarantined" in one.provenance]
    return sorted(told, key=_at)


def _odd(
    name: str, versions: Sequence[TableVersion], first: datetime, last: datetime
) -> Iterator[tuple[datetime, str, int]]:
    """When, what, and the version's number: of each kind the first."""
    for before, one in pairwise(versions):
        if first < _at(one) <= last and before.provenance.get("code") != one.provenance.get("code"):
            told = f"Version {one.version} of {name}, {_when(one)}, is the first that other code of the source read."
            yield _at(one), told, one.version
            break
    for one in versions:
        altered = one.provenance.get("changes", [])
        if first < _at(one) <= last and altered:
            columns = ", ".join(f"{change['column']} ({change['kind']})" for change in altered)
            yield (
                _at(one),
                f"Version {one.version} of {name}, {_when(one)}, came with other columns: {columns}.",
                one.version,
            )
            break
    earlier = [one for one in versions if _at(one) <= first][-_USUAL:]
    since = [one for one in versions if first < _at(one) <= last]
    if len(earlier) >= _LEAST_VERSIONS and len(since) >= _LEAST_VERSIONS:
        yield from _more_bad(name, earlier, since)
        yield from _fewer(name, earlier, since)


def _more_bad(
    name: str, earlier: Sequence[TableVersion], since: Sequence[TableVersion]
) -> Iterator[tuple[datetime, str, int]]:
    usual = max(_bad(one) for one in earlier)
    odd = next((one for one in since if _bad(one) > usual + _MORE_BAD), None)
    if odd is not None:
        reasons = ", ".join(sorted(map(str, odd.provenance.get("reasons", {}))))
        told = (
            f"Of version {odd.version} of {name}, {_when(odd)}, {_bad(odd):.0%} of the rows were put into quarantine ({reasons}), "
            f"{usual:.0%} at most before."
        )
        yield _at(odd), told, odd.version


def _fewer(
    name: str, earlier: Sequence[TableVersion], since: Sequence[TableVersion]
) -> Iterator[tuple[datetime, str, int]]:
    least = min(_asked(one) for one in earlier)
    odd = next((one for one in since if _asked(one) < _FEWER * least), None)
    if odd is not None and least >= _LEAST_ROWS:
        told = f"Version {odd.version} of {name}, {_when(odd)}, brought {_asked(odd):,} rows, where no version before brought fewer than {least:,}."
        yield _at(odd), told, odd.version


def _asked(one: TableVersion) -> int:
    return int(one.provenance["rows"]) + int(one.provenance["quarantined"])


def _bad(one: TableVersion) -> float:
    return int(one.provenance["quarantined"]) / max(_asked(one), 1)


def _at(one: TableVersion) -> datetime:
    return from_micros(one.sequence or 0)


def _when(one: TableVersion) -> str:
    at = _at(one)
    return f"{at.day} {at:%B %Y %H:%M} UTC"


def _reached(lane: Lane, name: str) -> tuple[str, ...]:
    """The features that come from a table."""
    recipe = lane.recipe
    given = recipe.given if name == recipe.table else ()
    return (*given, *(feature for view in recipe.views if view.table == name for feature in feature_names(view)))
