"""How much single columns tell of a label: what tells all of it is a leak until shown otherwise."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.tree import DecisionTreeClassifier

from loopline.training.leaks import SUSPECT_AUC, area_under_curve
from loopline.values import derive_seed

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
LabelKind = Literal["binary", "multiclass", "regression"]
By = Literal["values", "presence", "value"]

SUSPECT_SHARE = 0.98
"""Of a number's variance, or of the wrong guesses of a class, that one column may take away before it is suspect."""

STRONG = 0.9
_HALF = 0.5
_FEW_VALUES, _SUSPECT_COPY = 10, 0.95
_FOLDS, _BINS, _SAMPLE = 5, 100, 20_000
_LEAVES, _FAR = 2, 1e30
_CHANCE = 0.001
_LEAST_ROWS, _LEAST_PURE = 30, 10
_PURE_CHANCE = 1e-6


class Tell(msgspec.Struct, frozen=True):
    """What one column tells of the label.

    `by` says what of it tells: its `values`, its `presence` (filled or missing), or one `value` that comes with one label only.
    `strength` is 0 to 1 in the `measure`: "auc" (0.5 is nothing), "r2" (share of the variance), "guesses" (share of the wrong
    guesses that it takes away). `suspect` says that it is too good to be true.
    """

    column: str
    by: By
    measure: str
    strength: float
    suspect: bool
    sentence: str


def tells(frame: pl.DataFrame, label: npt.ArrayLike, kind: LabelKind, *, seed: int = 0) -> list[Tell]:
    """What each column tells of `label`, the strongest first.

    `label` has shape (rows,): 0 or 1, the number of a class, or a number; NaN where unknown, which is left out. At most
    20,000 rows are taken. Numbers and times are ranked and cut into 100 bins, everything else is a category; a category is
    scored by the label's mean among the rows of the other four of five folds, so that many categories tell nothing by being
    many. With too few rows for chance to be excluded (a perfect order among all columns more likely than 0.001) nothing is
    suspect. AUC is the Mann-Whitney statistic with midranks (Hanley and McNeil 1982).
    """
    y = np.asarray(label, dtype=np.float64)
    rows = np.flatnonzero(~np.isnan(y))
    rows = _even(rows, seed)
    y, sampled = y[rows], frame[rows.tolist()]
    if len(y) < 2 or len(np.unique(y)) < 2:  # noqa: PLR2004 - one value cannot be told
        return []
    able = _able(y, kind, frame.width)
    found = [tell for name in frame.columns for tell in _of_column(sampled[name], y, kind, seed, able=able)]
    return sorted(found, key=lambda tell: (not tell.suspect, -tell.strength, tell.column))


def _even(rows: Integers, seed: int) -> Integers:
    if len(rows) <= _SAMPLE:
        return rows
    generator = np.random.default_rng(derive_seed(seed, "tells"))
    chosen = generator.choice(rows, _SAMPLE, replace=False)
    return np.sort(chosen)


def _able(y: Floats, kind: LabelKind, columns: int) -> bool:
    """Whether chance can be excluded: one of the columns orders the rows perfectly less often than in 0.001 of cases."""
    if kind != "binary":
        return len(y) >= _LEAST_ROWS
    ones = int((y == 1).sum())
    ways = math.lgamma(len(y) + 1) - math.lgamma(ones + 1) - math.lgamma(len(y) - ones + 1)
    return math.log(2 * max(columns, 1)) - ways < math.log(_CHANCE)


def _of_column(column: pl.Series, y: Floats, kind: LabelKind, seed: int, *, able: bool) -> Iterator[Tell]:
    missing = column.is_null().to_numpy()
    if missing.all():
        return
    yield _by_values(column, y, kind, seed, able=able)
    if 0 < missing.sum() < len(y):
        yield from _by_presence(column.name, missing, y, kind, able=able)
    if kind != "regression":
        yield from _by_one_value(column, y, kind)


def _by_values(column: pl.Series, y: Floats, kind: LabelKind, seed: int, *, able: bool) -> Tell:
    codes, ranks = _codes(column)
    generator = np.random.default_rng(derive_seed(seed, "folds", len(y)))
    fold = generator.permutation(len(y)) % _FOLDS
    measure, strength = _strength(codes, ranks, y, kind, fold)
    few = len(np.unique(codes)) <= _FEW_VALUES
    limit = SUSPECT_AUC if measure == "auc" else SUSPECT_SHARE
    suspect = able and strength >= (min(limit, _SUSPECT_COPY) if few and measure == "auc" else limit)
    return Tell(column.name, "values", measure, strength, suspect, _said(column.name, measure, strength))


def _strength(codes: Integers, ranks: Floats | None, y: Floats, kind: LabelKind, fold: Integers) -> tuple[str, float]:
    if kind == "binary":
        areas = [area_under_curve(_held_out_mean(codes, y, fold), y == 1)]
        areas += [area_under_curve(ranks, y == 1)] if ranks is not None else []
        return "auc", max(areas)
    if kind == "regression":
        shares = [_variance_told(_held_out_mean(codes, y, fold), y)]
        shares += [_squared_correlation(ranks, y), _squared_correlation(_midranks(ranks), _midranks(y))] if ranks is not None else []  # fmt: skip
        return "r2", max(shares)
    classes = y.astype(np.int64)
    found = [_guesses_saved(codes, classes, fold)]
    found += [_guesses_saved_by_cuts(ranks, classes, fold)] if ranks is not None else []
    return "guesses", max(found)


def _codes(column: pl.Series) -> tuple[Integers, Floats | None]:
    """The column as numbers of its categories or bins, 0 for missing; and as floats where it has an order."""
    dtype = column.dtype
    if not (dtype.is_numeric() or dtype.is_temporal()):
        codes = column.cast(pl.String).rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
        return codes, None
    values = column.to_physical().cast(pl.Float64).fill_null(np.nan).to_numpy() if dtype.is_temporal() else column.cast(pl.Float64).fill_null(np.nan).to_numpy()  # fmt: skip
    finite = np.where(np.isnan(values), -np.inf, values)
    known = np.unique(values[~np.isnan(values)])
    if len(known) > _BINS:
        edges = np.unique(np.quantile(values[~np.isnan(values)], np.linspace(0, 1, _BINS + 1)[1:-1], method="inverted_cdf"))  # fmt: skip
        codes = np.searchsorted(edges, finite, side="left") + 1
    else:
        codes = np.searchsorted(known, finite) + 1
    return np.where(np.isnan(values), 0, codes).astype(np.int64), finite


def _held_out_mean(codes: Integers, y: Floats, fold: Integers) -> Floats:
    """For each row the label's mean among the rows of its code in the other folds, drawn a little to the mean of all."""
    width = int(codes.max()) + 1
    cell = fold * width + codes
    total = np.bincount(codes, weights=y, minlength=width)
    count = np.bincount(codes, minlength=width)
    mine = np.bincount(cell, weights=y, minlength=_FOLDS * width)
    own = np.bincount(cell, minlength=_FOLDS * width)
    held: Floats = (total[codes] - mine[cell] + y.mean()) / (count[codes] - own[cell] + 1)
    return held


def _variance_told(predicted: Floats, y: Floats) -> float:
    return max(0.0, 1 - float(((y - predicted) ** 2).sum()) / max(float(((y - y.mean()) ** 2).sum()), 1e-300))


def _squared_correlation(x: Floats, y: Floats) -> float:
    known = np.isfinite(x)
    if known.sum() < _LEAST_ROWS or known.mean() < STRONG or np.ptp(x[known]) == 0 or np.ptp(y[known]) == 0:
        return 0.0
    with np.errstate(all="ignore"):
        found = float(np.corrcoef(x[known], y[known])[0, 1])
    return found * found if math.isfinite(found) else 0.0


def _midranks(x: Floats) -> Floats:
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return np.where(np.isfinite(x), ranks, np.nan)


def _guesses_saved(codes: Integers, y: Integers, fold: Integers) -> float:
    """Goodman and Kruskal's lambda (1954), out of fold: the share of wrong guesses that knowing the column takes away."""
    width, classes = int(codes.max()) + 1, int(y.max()) + 1
    usual = int(np.bincount(y).argmax())
    wrong = 0
    for held in range(_FOLDS):
        rest = fold != held
        table = np.zeros((width, classes))
        np.add.at(table, (codes[rest], y[rest]), 1)
        guess = np.where(table.sum(axis=1) > 0, table.argmax(axis=1), usual)
        wrong += int((guess[codes[~rest]] != y[~rest]).sum())
    before = int((y != usual).sum())
    return max(0.0, 1 - wrong / before) if before else 0.0


def _guesses_saved_by_cuts(ranks: Floats, y: Integers, fold: Integers) -> float:
    """The same where a small tree cuts the numbers: bins of equal rows would cross the borders between classes."""
    usual = int(np.bincount(y).argmax())
    x = np.nan_to_num(np.clip(ranks, -_FAR, _FAR)).reshape(-1, 1)
    wrong = 0
    for held in range(_FOLDS):
        rest = fold != held
        tree = DecisionTreeClassifier(max_leaf_nodes=_LEAVES * (int(y.max()) + 1), min_samples_leaf=3, random_state=0)
        wrong += int((tree.fit(x[rest], y[rest]).predict(x[~rest]) != y[~rest]).sum())
    before = int((y != usual).sum())
    return max(0.0, 1 - wrong / before) if before else 0.0


def _by_presence(
    name: str, missing: npt.NDArray[np.bool_], y: Floats, kind: LabelKind, *, able: bool
) -> Iterator[Tell]:
    filled = ~missing
    if kind == "binary":
        area = area_under_curve(filled.astype(np.float64), y == 1)
        pure = _pure(y[filled], y) or _pure(y[missing], y)
        if able and (area >= _SUSPECT_COPY or pure):
            side = "filled" if _pure(y[filled], y) or not _pure(y[missing], y) else "missing"
            label = _only(y[filled if side == "filled" else missing])
            always = f"always {label:g}" if pure and label is not None else f"told with an AUC of {area:.3f}"
            yield Tell(
                name, "presence", "auc", area, suspect=True, sentence=f"where {name} is {side}, the label is {always}."
            )
    elif kind == "multiclass" and able:
        for side, part in (("filled", filled), ("missing", missing)):
            if _pure(y[part], y):
                yield Tell(name, "presence", "guesses", 1.0, suspect=True, sentence=f"where {name} is {side}, the label is always of one class.")  # fmt: skip


def _by_one_value(column: pl.Series, y: Floats, kind: LabelKind) -> Iterator[Tell]:
    """A category that comes with one label only, and often enough for that to be no chance."""
    if column.dtype not in (pl.String, pl.Boolean, pl.Categorical, pl.Enum) or column.n_unique() > _BINS:
        return
    for value in column.drop_nulls().unique().sort().to_list():
        mine = (column == value).fill_null(value=False).to_numpy()
        only = _only(y[mine])
        if (
            only is not None
            and _pure(y[mine], y)
            and (kind != "binary" or only == 1 or float((y == only).mean()) < _HALF)
        ):
            area = area_under_curve(mine.astype(np.float64), y == only)
            yield Tell(column.name, "value", "auc", area, suspect=False, sentence=f"where {column.name} is {str(value)[:40]!r}, the label is always the same ({int(mine.sum()):,} rows).")  # fmt: skip


def _only(y: Floats) -> float | None:
    return float(y[0]) if len(y) and bool((y == y[0]).all()) else None


def _pure(part: Floats, y: Floats) -> bool:
    """Whether all of a part has one label that so many rows would hardly have by chance."""
    only = _only(part)
    if only is None or len(part) < _LEAST_PURE:
        return False
    share = float((y == only).mean())
    return share < 1 and len(part) * math.log(share) < math.log(_PURE_CHANCE)


def _said(name: str, measure: str, strength: float) -> str:
    if measure == "auc":
        return f"{name} alone ranks the label with an AUC of {strength:.3f}."
    if measure == "r2":
        return f"{name} alone explains {strength:.1%} of the label's variance."
    return f"{name} alone takes away {strength:.1%} of the wrong guesses."


def suspects(found: Sequence[Tell]) -> list[Tell]:
    """Those that are too good to be true."""
    return [tell for tell in found if tell.suspect]
