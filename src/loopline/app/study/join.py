"""Labels join predictions by id: each prediction gets the last label of its key, however the ids are typed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.app.study.columns import Columns
from loopline.app.study.files import Table
from loopline.app.study.shelf import Shelf
from loopline.app.study.targets import NumberReader
from loopline.app.study.times import TimeReader
from loopline.errors import InvalidInput

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

NEVER = np.iinfo(np.int64).min
"""Stands for a time that is not known."""

MOST_KINDS = 10_000
_AT_ONCE = 4
_SEED = 20240229


@dataclass(frozen=True)
class Labels:
    """Labels in the order of a file: `given` (rows,) are places in `values`, -1 where there is none; or, where `values` is None as too many are
    different, the numbers themselves, NaN where there is none. `at` says when each came (`NEVER` = not known), None where no column does.
    """

    given: Array
    values: pl.Series | None
    at: Ints | None
    notices: list[str]
    keys: Keys | None = None
    """What each row is joined by, hashed, 0 for none; None where labels stand beside predictions."""

    def empty(self, rows: int, shelf: Shelf) -> "Labels":
        """As many rows without a label."""
        given = shelf.blank(rows, np.nan if self.values is None else -1, self.given.dtype)
        return replace(self, given=given, at=None if self.at is None else shelf.blank(rows, NEVER, np.int64))


def labels_within(predictions: Table, columns: Columns, shelf: Shelf) -> Labels:
    """Labels that stand beside their predictions."""
    return _read(predictions, columns, None, shelf)


def labels_from(predictions: Table, labels: Table, columns: Columns, keys: tuple[str, ...], shelf: Shelf) -> Labels:
    """Labels of another file, joined by `keys`. Raises `InvalidInput` where not one key is in both files.

    Where there are many rows they meet in turns: each time those whose hashed keys end alike.
    """
    text = [predictions.schema[name] != labels.schema[name] for name in keys]
    ours = keys_in(predictions, _key(keys, text), shelf)
    theirs = _read(labels, columns, _key(keys, text), shelf)
    assert theirs.keys is not None  # noqa: S101 - read just now
    joined, counts = theirs.empty(len(ours), shelf), _Counts()
    for turn in _turns(max(len(ours), len(theirs.keys)), shelf.part):
        _meet(joined, ours, theirs, turn, shelf, counts)
    if not counts.met:
        raise InvalidInput(
            "alone.nothing_joined",
            f"no prediction has a label: not one {' and '.join(keys)} is in both files",
            remedy=_examples(predictions, labels, keys),
        )
    nameless = sum(int((theirs.keys[part] == 0).sum()) for part in shelf.parts(len(theirs.keys)))
    told = [*theirs.notices, *counts.told(nameless, timed=theirs.at is not None)]
    return replace(joined, keys=ours, notices=told)


def _read(table: Table, columns: Columns, key: pl.Expr | None, shelf: Shelf) -> Labels:
    """The labels of a table in the order of its files."""
    assert columns.label  # noqa: S101 - guessed or refused before
    tally = table.tally(columns.label, MOST_KINDS, shelf.part)
    values = None if tally is None else _without_nan(tally["value"]).alias("label")
    numbers = NumberReader("label")
    times = TimeReader(table.first_known(columns.label_at, shelf.part)) if columns.label_at else None

    def pieces() -> Iterator[list[Array]]:
        wanted = [pl.col(columns.label).alias("_label"), *([key] if key is not None else [])]
        wanted += [pl.col(columns.label_at).alias("_when")] if times is not None else []
        for frame in table.parts(wanted, shelf.part):
            given = numbers.read(frame["_label"]) if values is None else _coded(frame["_label"], values)
            at = [] if times is None else [times.read(frame["_when"]).fill_null(NEVER).to_numpy()]
            yield [given, *at, *([_hashed(frame)] if key is not None else [])]

    given, *more = shelf.keep(pieces())
    numbers.check()
    keys = more.pop() if key is not None else None
    if times is None:
        return Labels(given, values, None, [], keys)
    at, notices = moved(more[0], times, shelf)
    return Labels(given, values, at, notices, keys)


def moved(at: Ints, times: TimeReader, shelf: Shelf) -> tuple[Ints, list[str]]:
    """Times that were read, where days are their noon, and what was assumed of them."""
    shift, notices = times.told()
    if not shift:
        return at, notices
    [later] = shelf.keep([np.where(at[part] == NEVER, NEVER, at[part] + shift)] for part in shelf.parts(len(at)))
    return later, notices


def _without_nan(values: pl.Series) -> pl.Series:
    return values.filter(values.is_not_nan()) if values.dtype.is_float() else values


def _coded(column: pl.Series, values: pl.Series) -> Array:
    """The place of each label among the `values`."""
    if not len(values):
        return np.full(len(column), -1, dtype=np.int32)
    places = pl.Series(np.arange(len(values)), dtype=pl.Int32)
    return column.replace_strict(values, places, default=-1, return_dtype=pl.Int32).fill_null(-1).to_numpy()


def _key(keys: tuple[str, ...], text: list[bool]) -> pl.Expr:
    """Eight bytes for each key: ids of millions of rows need not be kept. Two keys of ten million share one with p < 3e-6."""
    parts = [_as_text(name) if as_text else _plain(name) for name, as_text in zip(keys, text, strict=True)]
    null = pl.any_horizontal(pl.col(name).is_null() for name in keys)
    hashed = pl.concat_str([part.cast(pl.String) for part in parts], separator="\x1f").hash(_SEED)
    return pl.when(null).then(None).otherwise(hashed).alias("_key")


def _plain(name: str) -> pl.Expr:
    return pl.col(name)


def _as_text(name: str) -> pl.Expr:
    """Numbers and texts meet as texts, without the `.0` that a column with gaps gives whole numbers."""
    return pl.col(name).cast(pl.String).str.strip_chars().str.replace(r"\.0$", "")


def _hashed(frame: pl.DataFrame) -> Keys:
    return frame["_key"].fill_null(0).to_numpy()


def keys_in(table: Table, key: pl.Expr, shelf: Shelf) -> Keys:
    """The hashed key of each row, 0 for none."""
    [found] = shelf.keep([_hashed(frame)] for frame in table.parts([key], shelf.part))
    return found


@dataclass(frozen=True)
class _Turn:
    """The rows whose keys end in `bits`, of as many as the `mask` has."""

    bits: int
    mask: int

    def of(self, shelf: Shelf, keys: Keys, *columns: Array) -> list[Array]:
        """Their places, and what keys and columns hold there."""
        found: list[list[Array]] = []
        for part in shelf.parts(len(keys)):
            some = keys[part]
            inside = np.flatnonzero(((some & np.uint64(self.mask)) == self.bits) & (some != 0))
            found.append([inside + part.start, some[inside], *(column[part][inside] for column in columns)])
        return [np.concatenate(column) for column in zip(*found, strict=True)]


def _turns(rows: int, part: int) -> Iterator[_Turn]:
    """As many that about four parts of the rows come at a time: every turn looks at all keys."""
    turns = 1 << max(0, -(-rows // (_AT_ONCE * part)) - 1).bit_length()
    return (_Turn(bits, turns - 1) for bits in range(turns))


@dataclass
class _Counts:
    """What joining met with."""

    met: int = 0
    again: int = 0
    lonely: int = 0

    def told(self, nameless: int, *, timed: bool) -> Iterator[str]:
        if nameless:
            yield f"{nameless:,} labels have no id and are left out."
        if self.again:
            by = "by the time of the label" if timed else "by its place in the file"
            yield f"{self.again:,} labels came for a key that had one: the last counts, {by}."
        if self.lonely:
            yield f"{self.lonely:,} labels have no prediction and are left out."


def _meet(joined: Labels, ours: Keys, theirs: Labels, turn: _Turn, shelf: Shelf, counts: _Counts) -> None:
    """Give the predictions of one turn their labels."""
    assert theirs.keys is not None  # noqa: S101 - read before
    places, keys = turn.of(shelf, ours)
    own = pl.DataFrame({"_key": keys, "_row": places})
    _, keys, given, *at = turn.of(shelf, theirs.keys, theirs.given, *([] if theirs.at is None else [theirs.at]))
    labels = pl.DataFrame({"_key": keys, "_label": given, **({"_at": at[0]} if at else {})})
    last = _one_each(labels)
    counts.again += len(labels) - len(last)
    counts.lonely += len(last) - int(own["_key"].unique().is_in(last["_key"].implode()).sum())
    met = own.join(last, on="_key", how="inner", maintain_order="left")
    counts.met += len(met)
    rows = met["_row"].to_numpy()
    shelf.put(joined.given, rows, met["_label"].to_numpy())
    if joined.at is not None:
        shelf.put(joined.at, rows, met["_at"].to_numpy())


def _one_each(frame: pl.DataFrame) -> pl.DataFrame:
    """One row a key: the last by its time, or else by its place in the file."""
    if frame["_key"].n_unique() == len(frame):
        return frame
    ordered = frame.sort("_at", maintain_order=True) if "_at" in frame.columns else frame
    return ordered.unique("_key", keep="last", maintain_order=True)


def _examples(predictions: Table, labels: Table, keys: tuple[str, ...]) -> str:
    shown = [str(table.part(keys, 0, 1).row(0)[0]) for table in (predictions, labels)]
    return f"Name what joins them with --id. The first prediction has {keys[0]} {shown[0]!r}, the first label {shown[1]!r}."


def keys_of(predictions: Table, labels: Table, columns: Columns, shelf: Shelf) -> tuple[tuple[str, ...], list[str]]:
    """What joins the files: the id; with the time as well where ids repeat and both files have that time."""
    if len(columns.id) != 1 or not columns.at or columns.at not in labels.schema or columns.label_at == columns.at:
        return columns.id, []
    ids = keys_in(predictions, _key(columns.id, [False]), shelf)
    if not any(_again(turn.of(shelf, ids)[1]) for turn in _turns(len(ids), shelf.part)):
        return columns.id, []
    joint = (columns.id[0], columns.at)
    return joint, [f"{columns.id[0]} repeats, so labels are joined by {columns.id[0]} and {columns.at}."]


def _again(keys: Keys) -> bool:
    return pl.Series(keys).n_unique() < len(keys)


def repeated(keys: Keys, at: Ints, shelf: Shelf) -> tuple[Mask | None, list[str]]:
    """Rows that came again later, with the same key and time: the last one counts. The same key at another time is another prediction.

    None where no key comes twice.
    """
    found: Mask | None = None
    count = elsewhere = 0
    for turn in _turns(len(keys), shelf.part):
        places, some, moments = turn.of(shelf, keys, at)
        if not _again(some):
            continue
        found = shelf.blank(len(keys), 0, np.bool_) if found is None else found
        each = pl.DataFrame({"key": some, "at": moments})
        before = ~each.select(pl.struct("key", "at").is_last_distinct()).to_series().to_numpy()
        shelf.put(found, places, before)
        count += int(before.sum())
        elsewhere += int(each["key"].is_duplicated().sum())
    told = [f"{count:,} predictions came again with the same id and time: the last counts."] if count else []
    if elsewhere - 2 * count > 0:
        told.append("Some ids stand for several predictions at different times: each counts, with the label of its id.")
    return found, told
