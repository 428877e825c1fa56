"""Profiles: exact counts of a model's inputs in bins frozen at training. Counts of two stretches add up to those of both."""

import math
from collections.abc import Sequence
from functools import reduce

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput

Floats = npt.NDArray[np.float64]

_EXAMPLES = 5


class Binning(msgspec.Struct, frozen=True):
    """The frozen bins of each column.

    `numbers` holds rising edges e0 .. ek: a value is below e0, in one of the k bins [e, e'), where the last one is closed,
    or above ek. `categories` holds the known values as text. A column is in one of the two.
    """

    numbers: dict[str, tuple[float, ...]]
    categories: dict[str, tuple[str, ...]]


class NumberProfile(msgspec.Struct, frozen=True):
    """Counts of a numeric column: below, each bin, above. NaN counts as null, an infinity as below or above.

    `mean` and `squares` (the sum of squared distances from it), `low` and `high` are of the finite values, of which there are
    `finite`; None where there are none.
    """

    nulls: int
    counts: tuple[int, ...]
    finite: int
    mean: float | None
    squares: float
    low: float | None
    high: float | None

    @property
    def rows(self) -> int:
        """All rows, nulls too."""
        return self.nulls + sum(self.counts)

    @property
    def null_share(self) -> float:
        """Share of nulls among the rows; 0 without rows."""
        return self.nulls / self.rows if self.rows else 0.0

    @property
    def out_of_range(self) -> int:
        """Values below or above every value of the reference."""
        return self.counts[0] + self.counts[-1]

    @property
    def deviation(self) -> float:
        """The standard deviation, 0 without values."""
        return math.sqrt(self.squares / self.finite) if self.finite else 0.0

    @property
    def masses(self) -> tuple[int, ...]:
        """All counts that make the distribution, nulls last."""
        return (*self.counts, self.nulls)


class CategoryProfile(msgspec.Struct, frozen=True):
    """Counts of the known categories in the order of the binning, of all others together, and a few of those by name."""

    nulls: int
    counts: tuple[int, ...]
    unseen: int
    examples: tuple[str, ...]

    @property
    def rows(self) -> int:
        """All rows, nulls too."""
        return self.nulls + self.unseen + sum(self.counts)

    @property
    def null_share(self) -> float:
        """Share of nulls among the rows; 0 without rows."""
        return self.nulls / self.rows if self.rows else 0.0

    @property
    def masses(self) -> tuple[int, ...]:
        """All counts that make the distribution: the known, the unseen, nulls last."""
        return (*self.counts, self.unseen, self.nulls)


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

    Values that many rows share get fewer, heavier bins. Columns of other types, and those without any number, are left out.
    """
    numbers = {name: _edges(frame[name], bins) for name in frame.columns if frame[name].dtype.is_numeric()}
    named = [name for name in frame.columns if frame[name].dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)]
    return Binning(
        {name: edges for name, edges in numbers.items() if edges},
        {name: _most_frequent(frame[name], categories) for name in named},
    )


def profile(frame: pl.DataFrame, binning: Binning) -> Profile:
    """Count the rows in the frozen bins. Raises `InvalidInput` where a column is missing or of another kind."""
    for name in (*binning.numbers, *binning.categories):
        if name not in frame.columns:
            raise InvalidInput(
                "profile.no_column",
                f"the rows have no column {name!r}",
                remedy="Profile the columns the model was trained on.",
            )
    return Profile(
        len(frame),
        {name: _numbers(frame[name], edges) for name, edges in binning.numbers.items()},
        {name: _categories(frame[name], known) for name, known in binning.categories.items()},
    )


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
        {name: _merge_numbers(one, second.numbers[name]) for name, one in first.numbers.items()},
        {name: _merge_categories(one, second.categories[name]) for name, one in first.categories.items()},
    )


def _floats(column: pl.Series) -> Floats:
    if not (column.dtype.is_numeric() or column.dtype == pl.Null):
        raise InvalidInput(
            "profile.other_kind",
            f"column {column.name!r} was numeric and is {column.dtype} now",
            remedy="Cast it first.",
        )
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _edges(column: pl.Series, bins: int) -> tuple[float, ...]:
    x = _floats(column)
    x = x[np.isfinite(x)]
    if not len(x):
        return ()
    edges = np.unique(np.quantile(x, np.linspace(0, 1, bins + 1), method="inverted_cdf"))
    return tuple(edges.tolist()) if len(edges) > 1 else (float(edges[0]), float(edges[0]))


def _most_frequent(column: pl.Series, at_most: int) -> tuple[str, ...]:
    counted = column.cast(pl.String).drop_nulls().value_counts(name="_rows")
    return tuple(counted.sort("_rows", column.name, descending=[True, False])[column.name].head(at_most).to_list())


def _numbers(column: pl.Series, edges: tuple[float, ...]) -> NumberProfile:
    x = _floats(column)
    known, finite = x[~np.isnan(x)], x[np.isfinite(x)]
    place = np.searchsorted(np.array(edges), known, side="right")
    place[known == edges[-1]] = len(edges) - 1
    counts = np.bincount(place, minlength=len(edges) + 1)
    mean = float(finite.mean()) if len(finite) else None
    return NumberProfile(
        nulls=len(x) - len(known),
        counts=tuple(counts.tolist()),
        finite=len(finite),
        mean=mean,
        squares=float(((finite - mean) ** 2).sum()) if mean is not None else 0.0,
        low=float(finite.min()) if len(finite) else None,
        high=float(finite.max()) if len(finite) else None,
    )


def _categories(column: pl.Series, known: tuple[str, ...]) -> CategoryProfile:
    counted = column.cast(pl.String).drop_nulls().value_counts(name="_rows")
    counts: dict[str, int] = dict(zip(counted[column.name].to_list(), counted["_rows"].to_list(), strict=True))
    unseen = sorted(set(counts) - set(known))
    return CategoryProfile(
        nulls=column.null_count(),
        counts=tuple(counts.get(value, 0) for value in known),
        unseen=sum(counts[value] for value in unseen),
        examples=tuple(unseen[:_EXAMPLES]),
    )


def _merge_numbers(first: NumberProfile, second: NumberProfile) -> NumberProfile:
    finite = first.finite + second.finite
    mean, squares = first.mean, first.squares + second.squares
    if first.mean is None:
        mean = second.mean
    elif second.mean is not None:
        # Chan, Golub and LeVeque, 1983: no difference of large sums.
        gap = second.mean - first.mean
        mean = first.mean + gap * second.finite / finite
        squares += gap * gap * first.finite * second.finite / finite
    return NumberProfile(
        nulls=first.nulls + second.nulls,
        counts=tuple(a + b for a, b in zip(first.counts, second.counts, strict=True)),
        finite=finite,
        mean=mean,
        squares=squares,
        low=min((low for low in (first.low, second.low) if low is not None), default=None),
        high=max((high for high in (first.high, second.high) if high is not None), default=None),
    )


def _merge_categories(first: CategoryProfile, second: CategoryProfile) -> CategoryProfile:
    return CategoryProfile(
        nulls=first.nulls + second.nulls,
        counts=tuple(a + b for a, b in zip(first.counts, second.counts, strict=True)),
        unseen=first.unseen + second.unseen,
        examples=tuple(sorted({*first.examples, *second.examples})[:_EXAMPLES]),
    )
