"""Newly known rows into the records of the online store: which versions of which entities change, and how."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice

import numpy as np
import polars as pl

from loopline.features.arrivals import Arrival, arrivals
from loopline.features.definitions import View, payload_columns, reach
from loopline.features.history import KEY, Rows
from loopline.features.intervals import FOREVER
from loopline.features.records import Addresses, Entity, Filed, Link, decode_chain, decode_entity, encode
from loopline.features.steps import blocks_of, pack
from loopline.storage.key_values import KeyValues
from loopline.values import MICROSECOND

Changes = dict[bytes, bytes | None]
Shelf = dict[tuple[str, int], Filed]  # the versions filed under one entity, by key and known time

_AT_ONCE = 1000


class Filing:
    """Works on one view: reads the records that rows touch, and tells what to write. `horizon` is in microseconds."""

    def __init__(self, store: KeyValues, view: View, horizon: int) -> None:
        self._store = store
        self._view = view
        self._horizon = horizon
        self._addresses = Addresses(view)
        age = reach(view)
        self._age = None if age is None else age // MICROSECOND

    def file(self, rows: pl.DataFrame) -> Changes:
        """What rows of the view's table change, in any order of known times (of equal ones the later row wins)."""
        arriving = arrivals(self._view, rows)
        before = self._chains(list(arriving))
        after = {key: _linked(before[key], versions) for key, versions in arriving.items()}
        links = chain.from_iterable([*before.values(), *after.values()])
        shelves = self._shelves(sorted({link.entity for link in links if link.entity is not None}))
        for key, versions in arriving.items():
            _refile(shelves, key, before[key], after[key], versions)
        entities = [Entity(name, sorted(shelf.values(), key=_in_order)) for name, shelf in shelves.items()]
        return self._chains_written(after) | self._entities_written(entities)

    def swept(self) -> Iterator[Changes]:
        """All records as of the horizon, some at a time: entities and chains that no rows touch grow old too."""
        entities = (decode_entity(packed) for _, packed in self._store.scan(self._addresses.all_filed))
        while some := list(islice(entities, _AT_ONCE)):
            yield self._entities_written(some)
        yield {address: None for address, links in self._all_chains() if self._expired(links)}

    def without(self, entity: str) -> Changes:
        """What erases an entity: its steps, the versions filed under it, and the chains that name it."""
        named: Changes = {
            address: None for address, links in self._all_chains() if any(link.entity == entity for link in links)
        }
        return named | {self._addresses.filed(entity): None, self._addresses.steps(entity): None}

    def _chains(self, keys: list[str]) -> dict[str, list[Link]]:
        found = self._store.get_many([self._addresses.chain(key) for key in keys])
        return {key: decode_chain(packed) if packed else [] for key, packed in zip(keys, found, strict=True)}

    def _all_chains(self) -> Iterator[tuple[bytes, list[Link]]]:
        return ((address, decode_chain(packed)) for address, packed in self._store.scan(self._addresses.all_chains))

    def _shelves(self, names: list[str]) -> dict[str, Shelf]:
        found = self._store.get_many([self._addresses.filed(name) for name in names])
        versions = [decode_entity(packed).versions if packed else [] for packed in found]
        return {name: {(one.key, one.known): one for one in filed} for name, filed in zip(names, versions, strict=True)}

    def _chains_written(self, chains: dict[str, list[Link]]) -> Changes:
        return {
            self._addresses.chain(key): None if self._expired(links) else encode(links) for key, links in chains.items()
        }

    def _entities_written(self, entities: list[Entity]) -> Changes:
        """The records of entities: the versions that may still count after the horizon, and their steps."""
        kept = [Entity(one.name, [version for version in one.versions if self._counts(version)]) for one in entities]
        blocks = blocks_of(self._view, _as_rows(self._view, kept), self._horizon)
        changes: Changes = {}
        for code, entity in enumerate(kept):
            changes[self._addresses.filed(entity.name)] = encode(entity) if entity.versions else None
            changes[self._addresses.steps(entity.name)] = pack(blocks, code, self._horizon)
        return changes

    def _counts(self, version: Filed) -> bool:
        """Whether a version can count at the horizon or later."""
        return version.until > self._horizon and (self._age is None or version.event + self._age > self._horizon)

    def _expired(self, links: Iterable[Link]) -> bool:
        """Whether no version of a key can count any more, even one that is delivered again. A chain is kept as a whole: a
        version that no longer counts still ends the one before it.
        """
        if self._age is None:
            return False
        return all(max(link.event, link.known) + self._age <= self._horizon for link in links)


def _linked(before: list[Link], arriving: dict[int, Arrival]) -> list[Link]:
    """A key's chain with newly arrived versions, by known time."""
    links = {link.known: link for link in before}
    links |= {known: Link(known, arrival.event, arrival.entity) for known, arrival in arriving.items()}
    return [links[known] for known in sorted(links)]


def _refile(
    shelves: dict[str, Shelf], key: str, before: list[Link], after: list[Link], arriving: dict[int, Arrival]
) -> None:
    """Take the versions of one key from where they were filed, and file each where it belongs now, until its successor."""
    taken = {
        link.known: shelves[link.entity].pop((key, link.known), None) for link in before if link.entity is not None
    }
    ends = [link.known for link in after[1:]] + [FOREVER]
    for link, until in zip(after, ends, strict=True):
        old = taken.get(link.known)
        values = arriving[link.known].values if link.known in arriving else old.values if old else None
        if link.entity is not None and values is not None:
            shelves[link.entity][key, link.known] = Filed(key, link.known, link.event, until, values)


def _in_order(version: Filed) -> tuple[int, int, str]:
    return version.event, version.known, version.key


def _as_rows(view: View, entities: list[Entity]) -> Rows:
    versions = [version for entity in entities for version in entity.versions]
    codes = np.repeat(np.arange(len(entities)), [len(entity.versions) for entity in entities])
    columns = {KEY: pl.Series([version.key for version in versions], dtype=pl.String)}
    for place, name in enumerate(payload_columns(view)):
        columns[name] = _column([version.values[place] for version in versions])
    return Rows(
        codes=codes,
        event=np.array([version.event for version in versions], dtype=np.int64),
        known=np.array([version.known for version in versions], dtype=np.int64),
        until=np.array([version.until for version in versions], dtype=np.int64),
        places=np.arange(len(versions)),
        frame=pl.DataFrame(columns),
    )


def _column(values: list[float | str | None]) -> pl.Series:
    if any(isinstance(value, str) for value in values):
        return pl.Series(values, dtype=pl.String, strict=False)
    return pl.Series(values, dtype=pl.Float64)
