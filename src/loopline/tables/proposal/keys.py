"""Which columns could be the key, and which say when a row happened and when it became known."""

import re
from collections.abc import Mapping, Sequence
from itertools import combinations

import msgspec
import polars as pl

from loopline.tables.proposal.facts import ColumnFacts
from loopline.tables.proposal.personal import words

_KEY_NAME = re.compile(
    r"(^|_)(id|key|uuid|guid|code|no|nr|number|num|ref|index|order|invoice|transaction|ticket)(_|$)|id$"
)
_EVENT_NAME = re.compile(r"(^|_)(event|occurred|happened|created|ordered|order|start(ed)?|placed|purchase[d]?|transaction|visit(ed)?|admission|admitted|signup|signed|opened|sale|booked|time|timestamp|ts|date|datetime|day|month|year|dt|at)(_|$)")  # fmt: skip
_KNOWN_NAME = re.compile(r"(^|_)(known|recorded|reported|received|ingested|loaded|inserted|updated|modified|processed|published|announced|synced|imported|logged|arrived|available)(_|$)")  # fmt: skip
_NOT_EVENT = re.compile(
    r"(^|_)(birth|dob|birthday|expir(y|es|ed)|valid|until|end|ended|closed|cancel(l?ed)?|deleted|due|next)(_|$)"
)
_AFTER = 0.99
_ALMOST = 0.99
_TRIED = 7
_LEAST = 2


class KeyCandidate(msgspec.Struct, frozen=True):
    """Columns that together name each row once, or all but `duplicates` of them."""

    columns: tuple[str, ...]
    duplicates: int


class Times(msgspec.Struct, frozen=True):
    """Columns of times: the likeliest first for `event`; `known` those not before the event in 99 % of rows."""

    event: list[str]
    known: list[str]


def key_candidates(
    frame: pl.DataFrame, facts: Mapping[str, ColumnFacts], times: Sequence[str], exclude: Sequence[str] = ()
) -> list[KeyCandidate]:
    """Keys, the likeliest first: single columns, then pairs where there is none, of text, whole numbers, dates or times."""
    if frame.height < _LEAST:
        return []
    able = [name for name, fact in facts.items() if _able(fact) and name not in exclude]
    single = [KeyCandidate((name,), frame.height - facts[name].distinct) for name in able if name not in times]
    sure = [one for one in single if not one.duplicates]
    if sure:
        return sorted(sure, key=lambda one: (not _KEY_NAME.search(words(one.columns[0])), frame.columns.index(one.columns[0])))  # fmt: skip
    pairs = _pairs(frame, facts, able)
    almost = [one for one in single if one.duplicates <= (1 - _ALMOST) * frame.height]
    return [*pairs, *sorted(almost, key=lambda one: one.duplicates)]


def _able(fact: ColumnFacts) -> bool:
    return fact.kind in {"text", "whole", "date", "time"} and not fact.nulls and fact.distinct > 1


def _pairs(frame: pl.DataFrame, facts: Mapping[str, ColumnFacts], able: Sequence[str]) -> list[KeyCandidate]:
    widest = sorted(able, key=lambda name: (not _KEY_NAME.search(words(name)), -facts[name].distinct))[:_TRIED]
    found = []
    for pair in combinations(widest, 2):
        if any(facts[name].distinct == frame.height for name in pair):
            continue  # a time that no two rows share makes a key of whatever stands beside it
        if facts[pair[0]].distinct * facts[pair[1]].distinct >= frame.height:
            ordered = tuple(sorted(pair, key=frame.columns.index))
            if frame.select(ordered).hash_rows().n_unique() == frame.height:
                found.append(KeyCandidate(ordered, 0))
    return found


def times_of(frame: pl.DataFrame, facts: Mapping[str, ColumnFacts]) -> Times:
    """Which times there are, by name and by order."""
    names = [name for name, fact in facts.items() if fact.kind in {"time", "date"} and fact.distinct > 0]
    usual = [name for name in names if not (facts[name].personal or _NOT_EVENT.search(words(name)))]
    event = sorted(usual, key=lambda name: _rank(name, facts[name], frame.columns.index(name)))
    if not event:
        return Times([], [])
    others = [name for name in names if name != event[0]]
    known = [name for name in others if not _NOT_EVENT.search(words(name)) and _not_before(frame, event[0], name)]
    return Times(event, sorted(known, key=lambda name: not _KNOWN_NAME.search(words(name))))


def known_name(name: str) -> bool:
    """Whether the name says that it is when a row became known."""
    return _KNOWN_NAME.search(words(name)) is not None


def _rank(name: str, fact: ColumnFacts, place: int) -> tuple[bool, bool, bool, int]:
    return fact.null_share > 0.01, known_name(name), not _EVENT_NAME.search(words(name)), place  # noqa: PLR2004 - a few


def _not_before(frame: pl.DataFrame, event: str, other: str) -> bool:
    if frame[other].null_count() > (1 - _AFTER) * frame.height:
        return False
    both = frame.select(pl.col(event).cast(pl.Datetime("us")), pl.col(other).cast(pl.Datetime("us"))).drop_nulls()
    return both.height > 0 and int((both[other] >= both[event]).sum()) >= _AFTER * both.height
