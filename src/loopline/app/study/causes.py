"""Why: inputs that moved or broke, and slices that carry the harm, column by column."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.app.study.files import Table
from loopline.app.study.measure import Losses
from loopline.app.study.rows import Rows
from loopline.app.study.sample import Sample, columns_of, spread
from loopline.monitoring.absences import Absences
from loopline.monitoring.carriers import Carrier, SliceSums, carriers
from loopline.monitoring.counting import Places
from loopline.monitoring.drift import Suspect, diagnose
from loopline.monitoring.importance import dependence
from loopline.monitoring.profile import Binning, Profile, ReferenceProfile, freeze, merge, profile_places
from loopline.monitoring.quality import DataFault, find_faults, stuck
from loopline.monitoring.slice_risk import SliceBlocks
from loopline.monitoring.tally import Blocks
from loopline.monitoring.units import Recent

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Slices = npt.NDArray[np.int16]
Hashes = npt.NDArray[np.uint64]

SCORE = "the score"
"""The name under which the score itself is profiled: a fallback's constant is a fault of it."""

Matrix = npt.NDArray[np.float32]
Reread = Callable[[Ints], Iterable[pl.Series]]
"""The feature columns of the sampled rows at places."""

MOST_STRETCHES = 250
MOST_SLICES = 12
_BINS = 4
_FEW_VALUES = 12
_NAMES_AN_ID = 0.5
_LEAST_IMPORTANCE = 0.02
_GROUPS = 10
_REPEATED = "repeated"
_MIXER = np.uint64(0x9E3779B97F4A7C15)


@dataclass
class Inputs:
    """What is known of the inputs: a profile for each stretch of blocks, bins, importance, and slices by block.

    `stretch` (blocks,) says which profile a block is in; the first `reference` stretches are the reference.
    """

    sample: Sample
    stretch: Ints
    reference: int
    binning: Binning = field(default_factory=lambda: Binning({}, {}))
    profiles: list[Profile] = field(default_factory=list)
    importance: dict[str, float] = field(default_factory=dict)
    slices: dict[str, Slices] = field(default_factory=dict)
    """For each sliced column the place of each sampled row's slice, -1 for none."""
    places: dict[str, Places] = field(default_factory=dict)
    """For each column the bin of each sampled row."""
    hashes: Hashes | None = None
    """One hash of all features for each sampled row; None without features."""
    names: dict[str, list[str]] = field(default_factory=dict)
    stuck: list[tuple[float, float, int]] = field(default_factory=list)
    """For each stretch the score's most frequent value, its share of the rows, and how many these are."""
    notices: list[str] = field(default_factory=list)
    reread: Reread | None = None

    def coarse(self, places: Ints) -> Matrix:
        """All columns of the sampled rows at places by their bins, (places, columns)."""
        return np.column_stack([codes[places] for codes in self.places.values()]).astype(np.float32)

    def fine(self, places: Ints) -> Matrix:
        """As `coarse`, with numbers as they are and NaN for null."""
        found = {name: codes[places].astype(np.float32) for name, codes in self.places.items()}
        for column in self.reread(places) if self.reread else ():
            if column.name in found and column.dtype.is_numeric():
                found[column.name] = column.cast(pl.Float32).fill_null(np.nan).to_numpy()
        return np.column_stack(list(found.values()))


Progress = Callable[[str], None]


def look_at_inputs(
    table: Table,
    features: tuple[str, ...],
    rows: Rows,
    blocks: Blocks,
    reference: int,
    scores: Floats,
    progress: Progress,
) -> Inputs:
    """Profile every feature, and the score, over all blocks, of which the first `reference` are the reference."""
    sample = spread(blocks)
    stretch, first = _stretches(len(blocks), reference)
    found = Inputs(sample, stretch, first)
    found.reread = lambda places: columns_of(table, features, rows, sample.at(places))
    bounds = _bounds(sample, stretch)
    sampled_scores = rows.taken(scores, sample.rows)
    sampled_scores = sampled_scores if sampled_scores.ndim == 1 else sampled_scores.max(axis=1)
    single = pl.Series(SCORE, sampled_scores)
    _add(found, single, bounds, sampled_scores)
    found.stuck = [_most_frequent(sampled_scores[int(a) : int(b)]) for a, b in pairwise(bounds)]
    for column in columns_of(table, features, rows, sample):
        progress(column.name)
        why = _no_feature(column)
        if why:
            found.notices.append(f"{column.name} {why}: it is left out of the causes.")
        else:
            _add(found, column, bounds, sampled_scores)
    for extra in (rows.version, rows.decision):
        if extra is not None:
            _slice(found, extra.at(sample.rows, rows.shelf), bounds)
    return found


def _most_frequent(values: Floats) -> tuple[float, float, int]:
    known = values[~np.isnan(values)]
    if not len(known):
        return 0.0, 0.0, 0
    distinct, counts = np.unique(known, return_counts=True)
    most = int(counts.argmax())
    return float(distinct[most]), float(counts[most]) / len(known), len(known)


def _stretches(blocks: int, reference: int) -> tuple[Ints, int]:
    """Blocks in at most so many stretches, none of which crosses the end of the reference; how many are the reference's."""
    size = -(-blocks // MOST_STRETCHES)
    before = np.arange(reference) // size
    first = int(before[-1]) + 1
    return np.concatenate([before, first + np.arange(blocks - reference) // size]), first


def _bounds(sample: Sample, stretch: Ints) -> Ints:
    return np.searchsorted(stretch[sample.block], np.arange(int(stretch[-1]) + 2))


def _no_feature(column: pl.Series) -> str:
    """Why a column explains nothing: it names or counts the rows."""
    known = column.drop_nulls()
    if len(known) < _FEW_VALUES or column.dtype.is_float():
        return ""
    distinct = known.n_unique()
    if column.dtype == pl.String and distinct > _NAMES_AN_ID * len(known):
        return "has a value of its own in most rows, as an id has"
    if column.dtype.is_integer() and distinct == len(known) and known.is_sorted():
        return "counts the rows"
    return ""


def _add(found: Inputs, column: pl.Series, bounds: Ints, scores: Floats) -> None:
    name, until = column.name, int(bounds[found.reference])
    one = freeze(column[:until].to_frame())
    if not one.numbers and not one.categories:
        return
    parts, places = profile_places(column.to_frame(), one, bounds.tolist())
    found.profiles = (
        parts if not found.profiles else [_with(old, new) for old, new in zip(found.profiles, parts, strict=True)]
    )
    found.binning = found.binning.with_columns_of(one)
    if name == SCORE:
        return
    found.places |= places
    for each, codes in places.items():
        found.importance[each] = dependence(codes[:until].astype(np.int64), scores[:until])
    _slice(found, column, bounds)
    hashes = column.hash(seed=len(found.places)).to_numpy()
    found.hashes = hashes if found.hashes is None else (found.hashes * _MIXER) ^ hashes


def _with(first: Profile, second: Profile) -> Profile:
    return Profile(first.rows, {**first.numbers, **second.numbers}, {**first.categories, **second.categories})


def _slice(found: Inputs, column: pl.Series, bounds: Ints) -> None:
    until = int(bounds[found.reference])
    codes, names = _sliced(column, column[:until])
    if len(names) > 1:
        found.slices[column.name], found.names[column.name] = codes, names


def _sliced(column: pl.Series, reference: pl.Series) -> tuple[Slices, list[str]]:
    """The slice of each row and the slices' names: frequent values, or quarters of the reference's numbers; nulls for themselves."""
    few = reference.drop_nulls().n_unique() <= _FEW_VALUES
    if column.dtype.is_numeric() and not (few and not column.dtype.is_float()):
        return _quarters(column, reference)
    text = column.cast(pl.String)
    counts = text.drop_nulls().value_counts(sort=True, name="_rows").head(MOST_SLICES)
    values = counts[column.name].to_list()
    index = {value: place for place, value in enumerate(values)}
    codes = text.replace_strict(index, default=-1, return_dtype=pl.Int16).to_numpy().copy()
    missing = text.is_null().to_numpy()
    codes[missing] = len(values)
    return codes, [f"{column.name}={value}" for value in values] + [f"{column.name} missing"]


def _quarters(column: pl.Series, reference: pl.Series) -> tuple[Slices, list[str]]:
    values = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = reference.cast(pl.Float64).drop_nulls().to_numpy()
    known = known[np.isfinite(known)]
    if not len(known):
        return np.full(len(column), -1, dtype=np.int16), []
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1], method="inverted_cdf"))
    codes = np.searchsorted(edges, values, side="left").astype(np.int16)
    codes[np.isnan(values)] = len(edges) + 1
    inner = [f"{low:g} < {column.name} <= {high:g}" for low, high in pairwise(edges)]
    return codes, [f"{column.name} <= {edges[0]:g}", *inner, f"{column.name} > {edges[-1]:g}", f"{column.name} missing"]


def reference_profile_of(found: Inputs) -> ReferenceProfile:
    """The profile of the reference, with its stretches."""
    parts = tuple(found.profiles[: found.reference])
    return ReferenceProfile(found.binning, together(parts), parts if len(parts) > 1 else ())


def faults_by_stretch(found: Inputs, reference: ReferenceProfile) -> dict[int, list[DataFault]]:
    """What is broken in each stretch after the reference; stretches without faults are not named."""
    faults = {}
    usual = max(share for _, share, _ in found.stuck[: found.reference])
    recent, absences = Recent([one.numbers for one in found.profiles[: found.reference]]), Absences()
    for place in range(found.reference, len(found.profiles)):
        told = find_faults(reference, found.profiles[place], recent=recent, absences=absences)
        broken = [fault for fault in told if fault.kind != _REPEATED and _possible(fault)]
        one = stuck(SCORE, *found.stuck[place][:2], usual, found.stuck[place][2])
        broken += [one] if one else []
        if broken:
            faults[place] = broken
    return faults


def units_since(found: Inputs, first: int, last: int) -> list[DataFault]:
    """Units that changed, told by stretches `first` to `last` taken together against about ten groups of those before: each alone may be too small to tell."""
    size = max(1, found.reference // _GROUPS)

    def groups(begin: int, end: int) -> list[Profile]:
        return [together(found.profiles[place : min(place + size, end)]) for place in range(begin, end, size)]

    reference, before = groups(0, found.reference), groups(found.reference, first)
    whole = ReferenceProfile(found.binning, together(reference), tuple(reference))
    recent = Recent([one.numbers for one in reference])
    for one in before:
        find_faults(whole, one, recent=recent)
    told = find_faults(whole, together(found.profiles[first : last + 1]), recent=recent)
    return [fault for fault in told if fault.kind == "unit_change" and _possible(fault)]


def together(parts: Sequence[Profile]) -> Profile:
    """Several stretches as one."""
    return reduce(merge, parts)


def _possible(fault: DataFault) -> bool:
    """A score has no unit and no feed."""
    return fault.column != SCORE or fault.kind not in {"unit_change", "stale_feature"}


def suspects(found: Inputs, reference: ReferenceProfile, first: int, last: int) -> list[Suspect]:
    """Features that moved in blocks `first` to `last`, both in it, the likeliest cause first: effect times importance."""
    parts = found.profiles[int(found.stretch[first]) : int(found.stretch[last]) + 1]
    current = together(parts)
    weights = {name: max(value, _LEAST_IMPORTANCE) for name, value in found.importance.items()}
    return [one for one in diagnose(reference, current, weights) if one.column != SCORE]


def unexplained_of(
    found: Inputs, rows: Rows, losses: Losses, level: float, surprise: float | None
) -> tuple[Floats, Floats]:
    """For each sampled row whether it is judged, as 1 or 0, and its loss above what it was expected to lose, 0 where it is not judged."""
    places = found.sample.rows
    judged = rows.taken(losses.judged, places)
    own = None if losses.own_rows is None or surprise is None else rows.taken(losses.own_rows, places)
    expected = level if own is None or surprise is None else own + surprise
    return judged.astype(np.float64), np.where(judged, rows.taken(losses.rows, places) - expected, 0.0)


def sums_of_slices(found: Inputs, blocks: int, weight: Floats, values: Floats) -> dict[str, SliceBlocks]:
    """Rows and values of each slice in each block, and under the empty name of all rows."""
    block = found.sample.block

    def summed(codes: Ints, width: int, what: Floats) -> Floats:
        return np.bincount(codes, weights=what, minlength=width * blocks).astype(np.float64).reshape(width, blocks)

    sums = {"": SliceBlocks(summed(block, 1, weight)[0], summed(block, 1, values)[0])}
    for column, slices in found.slices.items():
        names = found.names[column]
        inside = slices >= 0
        codes = slices[inside].astype(np.int64) * blocks + block[inside]
        rows, lost = (summed(codes, len(names), what[inside]) for what in (weight, values))
        sums |= {name: SliceBlocks(rows[place], lost[place]) for place, name in enumerate(names)}
    return sums


def carriers_of(sums: dict[str, SliceBlocks], reference: int, first: int, last: int) -> list[Carrier]:
    """The slices that carry the rise of unexplained loss in blocks `first` to `last` over the reference's."""
    before, since = slice(0, reference), slice(first, last + 1)
    return carriers(
        {
            name: SliceSums(name, one.rows[before], one.loss[before], one.rows[since], one.loss[since])
            for name, one in sums.items()
        }
    )


def known_at(rows: Rows, places: Ints) -> Mask:
    """Which rows at rising places have a score and a label."""
    outputs = rows.taken(rows.outputs, places)
    made = ~np.isnan(outputs if outputs.ndim == 1 else outputs[:, 0])
    found: Mask = made & ~np.isnan(rows.taken(rows.label, places))
    return found


@dataclass(frozen=True)
class Covered:
    """The share of a slice's predictions that have a label."""

    slice: str
    predictions: int
    coverage: float


def coverage_by_slice(found: Inputs, rows: Rows, at_least: int = 200) -> list[Covered]:
    """The coverage of every slice of enough sampled predictions, the least covered first."""
    known = known_at(rows, found.sample.rows)
    covered = []
    for column, codes in found.slices.items():
        for place, name in enumerate(found.names[column]):
            inside = codes == place
            count = int(inside.sum())
            if count >= at_least:
                covered.append(Covered(name, count, float(known[inside].mean())))
    return sorted(covered, key=lambda one: (one.coverage, one.slice))
