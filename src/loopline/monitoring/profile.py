"""Profiles: exact counts of a model's inputs in bins frozen at training. Counts of two stretches add up to those of both."""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import chain

import msgspec
import numpy as np
import polars as pl

from loopline.errors import InvalidInput
from loopline.monitoring.column_profile import (
    CategoryProfile,
    ColumnProfile,
    NumberProfile,
    merge_categories,
    merge_numbers,
)
from loopline.monitoring.counting import Places, count_categories, count_numbers, floats_of, tally_of
from loopline.monitoring.derived import Derived, derived_of, read_derived
from loopline.monitoring.scanning import by_columns

__all__ = [
    "Binning",
    "CategoryProfile",
    "ColumnProfile",
    "NumberProfile",
    "Profile",
    "ReferenceProfile",
    "freeze",
    "merge",
    "profile",
    "profile_after",
    "profile_parts",
    "profile_places",
    "profile_scan",
    "profile_stretches",
    "reference_profile",
]

_AT_ONCE = 1 << 19  # values: two columns of a group of rows, as many writers make them


class Binning(msgspec.Struct, frozen=True):
    """The frozen bins of each column.

    `numbers` holds rising edges e0 .. ek: a value is below e0, in one of the k bins [e, e'), where the last one is closed,
    or above ek. Where the last two are equal, the last bin is that value alone. `categories` holds the known values as text. A column is in
    one of the two. `derived` says which of the numbers are read from other columns, such as the length of a text.
    """

    numbers: dict[str, tuple[float, ...]]
    categories: dict[str, tuple[str, ...]]
    derived: dict[str, Derived] = {}

    def columns(self) -> list[str]:
        """The columns that rows must have."""
        given = [name for name in (*self.numbers, *self.categories) if name not in self.derived]
        return list(dict.fromkeys([*given, *(one.of for one in self.derived.values())]))

    def of_columns(self, columns: Sequence[str]) -> "Binning":
        """The bins of these columns, and of what is read from them."""
        derived = {name: one for name, one in self.derived.items() if one.of in columns}
        return Binning(
            {name: edges for name, edges in self.numbers.items() if name in derived or name in columns},
            {name: known for name, known in self.categories.items() if name in columns},
            derived,
        )

    def with_columns_of(self, other: "Binning") -> "Binning":
        """The bins of the columns of both."""
        return Binning(
            {**self.numbers, **other.numbers},
            {**self.categories, **other.categories},
            {**self.derived, **other.derived},
        )


class Profile(msgspec.Struct, frozen=True):
    """The profile of some rows: one for each column of the binning."""

    rows: int
    numbers: dict[str, NumberProfile]
    categories: dict[str, CategoryProfile]


class ReferenceProfile(msgspec.Struct, frozen=True):
    """What a model was trained on: the bins, the profile of all rows, and those of its blocks, which show what is usual."""

    binning: Binning
    profile: Profile
    blocks: tuple[Profile, ...] = ()


def freeze(frame: pl.DataFrame, *, bins: int = 20, categories: int = 100) -> Binning:
    """Bins from reference rows: equal masses for numbers, the most frequent values for texts, categories and booleans.

    Values that many rows share get fewer, heavier bins. A text of more different values than `categories` is profiled by its length too,
    a list of numbers by its norm and its nearness to the reference's mean. Columns of other types, and those without any number, are
    left out.
    """
    named = [name for name in frame.columns if frame[name].dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)]
    known = {name: _most_frequent(frame[name], categories) for name in named}
    derived: dict[str, Derived] = {}
    for column in frame:
        free_text = len(known.get(column.name, ())) == categories and column.n_unique() > categories + 1
        derived |= derived_of(column, free_text=free_text)
    numbers = {name: _edges(frame[name], bins) for name in frame.columns if frame[name].dtype.is_numeric()}
    numbers |= {name: _edges(read_derived(frame[one.of], one), bins) for name, one in derived.items()}
    some = {name: edges for name, edges in numbers.items() if edges}
    return Binning(some, known, {name: one for name, one in derived.items() if name in some})


def profile(frame: pl.DataFrame, binning: Binning) -> Profile:
    """Count the rows in the frozen bins. Raises `InvalidInput` where a column is missing or of another kind."""
    return profile_stretches(frame, binning, (0, len(frame)))[0]


def profile_parts(parts: Iterable[pl.DataFrame], binning: Binning) -> Profile:
    """The profile of all parts, of which only one need be in memory at a time. Raises as `profile`."""
    return reduce(merge, (profile(part, binning) for part in parts))


def profile_scan(rows: pl.LazyFrame, binning: Binning, at_once: int = _AT_ONCE) -> Profile:
    """The profile of a scan of Parquet files, of which a few times so many values are in memory. Raises as `profile`."""
    _require(binning, rows.collect_schema().names())

    def counted(parts: Iterator[pl.DataFrame]) -> Profile:
        first = next(parts)
        return profile_parts(chain([first], parts), binning.of_columns(first.columns))

    return _side_by_side(by_columns(rows, binning.columns(), at_once, counted))


def profile_after(rows: pl.LazyFrame, first: int, at_once: int = _AT_ONCE) -> tuple[ReferenceProfile, Profile]:
    """The reference of the `first` rows of a scan and the profile of all rows after them, in one reading.

    In memory are a few columns of the first rows, and a few times so many values. Raises as `reference_profile`.
    """

    def counted(parts: Iterator[pl.DataFrame]) -> tuple[ReferenceProfile, Profile]:
        early, rest = _split(parts, first)
        reference = reference_profile([early])
        return reference, profile_parts(chain([rest], parts), reference.binning)

    found = by_columns(rows, rows.collect_schema().names(), at_once, counted)
    binning = reduce(Binning.with_columns_of, (reference.binning for reference, _ in found))
    before = _side_by_side([reference.profile for reference, _ in found])
    return ReferenceProfile(binning, before), _side_by_side([profile for _, profile in found])


def _split(parts: Iterator[pl.DataFrame], first: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first rows, and what else came with them."""
    early: list[pl.DataFrame] = []
    for part in parts:
        missing = first - sum(map(len, early))
        early.append(part[:missing])
        if len(part) >= missing:
            return pl.concat(early), part[missing:]
    return pl.concat(early), early[-1].clear()


def _side_by_side(profiles: Sequence[Profile]) -> Profile:
    """Of the same rows, but other columns."""
    return Profile(
        max((one.rows for one in profiles), default=0),
        {name: column for one in profiles for name, column in one.numbers.items()},
        {name: column for one in profiles for name, column in one.categories.items()},
    )


def profile_stretches(frame: pl.DataFrame, binning: Binning, bounds: Sequence[int]) -> list[Profile]:
    """The profile of each stretch of the rows, from one of the `bounds` up to the next. Raises as `profile`."""
    return _profiled(frame, binning, bounds, None)


def profile_places(
    frame: pl.DataFrame, binning: Binning, bounds: Sequence[int]
) -> tuple[list[Profile], dict[str, Places]]:
    """As `profile_stretches`, and where each row counts in each column, (rows,)."""
    places = {name: np.empty(len(frame), dtype=np.uint8) for name in (*binning.numbers, *binning.categories)}
    return _profiled(frame, binning, bounds, places), places


def _profiled(
    frame: pl.DataFrame, binning: Binning, bounds: Sequence[int], places: dict[str, Places] | None
) -> list[Profile]:
    _require(binning, frame.columns)
    place_of = places or {}
    numbers = {
        name: count_numbers(floats_of(_column(frame, binning, name)), edges, bounds, place_of.get(name))
        for name, edges in binning.numbers.items()
    }
    categories = {
        name: count_categories(frame[name], known, bounds, place_of.get(name))
        for name, known in binning.categories.items()
    }
    return [
        Profile(
            int(bounds[place + 1] - bounds[place]),
            {name: parts[place] for name, parts in numbers.items()},
            {name: parts[place] for name, parts in categories.items()},
        )
        for place in range(len(bounds) - 1)
    ]


def _require(binning: Binning, columns: Sequence[str]) -> None:
    for name in binning.columns():
        if name not in columns:
            raise InvalidInput(
                "profile.no_column",
                f"the rows have no column {name!r}",
                remedy="Profile the columns the model was trained on.",
            )


def _column(frame: pl.DataFrame, binning: Binning, name: str) -> pl.Series:
    one = binning.derived.get(name)
    return frame[name] if one is None else read_derived(frame[one.of], one).alias(name)


def reference_profile(blocks: Sequence[pl.DataFrame], *, bins: int = 20, categories: int = 100) -> ReferenceProfile:
    """The reference from the training rows, cut into stretches of time of about the length that is watched later.

    One stretch gives a reference without blocks: what is usual is then what chance alone would do. Raises `InvalidInput`
    without rows.
    """
    if not sum(len(block) for block in blocks):
        raise InvalidInput("profile.no_rows", "there are no rows to make a reference of")
    binning = freeze(pl.concat(blocks), bins=bins, categories=categories)
    parts = tuple(profile(block, binning) for block in blocks if len(block))
    return ReferenceProfile(binning, reduce(merge, parts), parts if len(parts) > 1 else ())


def merge(first: Profile, second: Profile) -> Profile:
    """The profile of both stretches together. They must be of one binning."""
    return Profile(
        first.rows + second.rows,
        {name: merge_numbers(one, second.numbers[name]) for name, one in first.numbers.items()},
        {name: merge_categories(one, second.categories[name]) for name, one in first.categories.items()},
    )


def _edges(column: pl.Series, bins: int) -> tuple[float, ...]:
    x = floats_of(column)
    finite = np.isfinite(x)
    x = x.copy() if finite.all() else x[finite]
    x.sort()
    if not len(x):
        return ()
    # The inverted distribution function at even shares, as `np.quantile` has it: of sorted values these are those at places.
    places = np.maximum(np.ceil(len(x) * np.linspace(0, 1, bins + 1) - 1), 0)
    quantiles = (x[places.astype(np.int64)] + 0.0).tolist()
    edges = list(dict.fromkeys(quantiles))
    # The last bin holds two edges. A value that many rows share is not to lie with others there: of 0 and 1 each has a bin of its own.
    if quantiles[-2:] == [edges[-1]] * 2:
        edges.append(edges[-1])
    elif quantiles.count(edges[-2]) > 1:
        edges.insert(-1, math.nextafter(edges[-2], math.inf))
    return tuple(edges)


def _most_frequent(column: pl.Series, at_most: int) -> tuple[str, ...]:
    tally, _ = tally_of(column)
    return tuple(sorted(tally, key=lambda value: (-tally[value], value))[:at_most])
