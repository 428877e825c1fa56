"""The profile of one column: numbers, or categories. Profiles of one binning add up."""

import math

import msgspec

from loopline.monitoring.distinct import estimate, hashes_of_texts, merge_sketches

KEPT_NEW = 32
_EXAMPLES = 5


class NumberProfile(msgspec.Struct, frozen=True):
    """Counts of a numeric column: below, each bin, above. NaN counts as null, an infinity as below or above.

    `mean` and `squares` (the sum of squared distances from it), `low` and `high` are of the finite values, of which there are
    `finite`; None where there are none. `distinct` is the sketch of how many different values there are; empty where none was kept.
    """

    nulls: int
    counts: tuple[int, ...]
    finite: int
    mean: float | None
    squares: float
    low: float | None
    high: float | None
    distinct: bytes = b""

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
    def cardinality(self) -> float:
        """About how many different values; NaN where that was not kept."""
        return estimate(self.distinct)

    @property
    def masses(self) -> tuple[int, ...]:
        """All counts that make the distribution, nulls last."""
        return (*self.counts, self.nulls)


class CategoryProfile(msgspec.Struct, frozen=True):
    """Counts of the known categories in the order of the binning, of all others together, and of at most 32 of those by name.

    Where there are more than 32 new values, those are kept that come first by a hash. `distinct` is as that of numbers.
    """

    nulls: int
    counts: tuple[int, ...]
    unseen: int
    new: dict[str, int] = {}
    distinct: bytes = b""

    @property
    def rows(self) -> int:
        """All rows, nulls too."""
        return self.nulls + self.unseen + sum(self.counts)

    @property
    def null_share(self) -> float:
        """Share of nulls among the rows; 0 without rows."""
        return self.nulls / self.rows if self.rows else 0.0

    @property
    def examples(self) -> tuple[str, ...]:
        """A few of the new values, the most frequent first."""
        return tuple(sorted(self.new, key=lambda value: (-self.new[value], value))[:_EXAMPLES])

    @property
    def cardinality(self) -> float:
        """About how many different values; NaN where that was not kept."""
        return estimate(self.distinct)

    @property
    def masses(self) -> tuple[int, ...]:
        """All counts that make the distribution: the known, the unseen, nulls last."""
        return (*self.counts, self.unseen, self.nulls)


ColumnProfile = NumberProfile | CategoryProfile


def merge_numbers(first: NumberProfile, second: NumberProfile) -> NumberProfile:
    """The profile of both stretches together."""
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
        distinct=merge_sketches(first.distinct, second.distinct),
    )


def merge_categories(first: CategoryProfile, second: CategoryProfile) -> CategoryProfile:
    """The profile of both stretches together."""
    new = {name: first.new.get(name, 0) + second.new.get(name, 0) for name in {**first.new, **second.new}}
    return CategoryProfile(
        nulls=first.nulls + second.nulls,
        counts=tuple(a + b for a, b in zip(first.counts, second.counts, strict=True)),
        unseen=first.unseen + second.unseen,
        new=new if len(new) <= KEPT_NEW else {name: new[name] for name in kept_new(list(new))},
        distinct=merge_sketches(first.distinct, second.distinct),
    )


def kept_new(names: list[str]) -> list[str]:
    """Those new values whose counts are kept: by their hash, not by their count, so that what two parts keep is what the whole keeps."""
    hashes = hashes_of_texts(names).tolist()
    return sorted(name for _, name in sorted(zip(hashes, names, strict=True))[:KEPT_NEW])
