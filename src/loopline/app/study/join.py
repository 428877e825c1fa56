"""Labels join predictions by id: each prediction gets the last label of its key, however the ids are typed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.app.study.columns import Columns
from loopline.app.study.files import Table
from loopline.app.study.times import read_times
from loopline.errors import InvalidInput

Ints = npt.NDArray[np.int64]

NEVER = np.iinfo(np.int64).min
"""Stands for a time that is not known."""

_SEED = 20240229


@dataclass(frozen=True)
class Labels:
    """For each prediction, in the order of the file: its raw label (null = none) and when that came (`NEVER` = not known).

    `at` is None where no column says when labels came.
    """

    values: pl.Series
    at: Ints | None
    notices: list[str]
    keys: pl.Series | None = None
    """What the prediction is joined by, hashed; None where labels stand beside predictions."""


def labels_within(predictions: Table, columns: Columns) -> Labels:
    """Labels that stand beside their predictions."""
    assert columns.label  # noqa: S101 - guessed or refused before
    names = [columns.label, *([columns.label_at] if columns.label_at else [])]
    frame = predictions.read(names)
    at, notices = _label_times(frame, columns.label_at)
    return Labels(frame[columns.label].alias("label"), at, notices)


def labels_from(predictions: Table, labels: Table, columns: Columns, keys: tuple[str, ...]) -> Labels:
    """Labels of another file, joined by `keys`. Raises `InvalidInput` where not one key is in both files."""
    assert columns.label  # noqa: S101 - guessed or refused before
    text = [predictions.schema[name] != labels.schema[name] for name in keys]
    ours = predictions.read([_key(keys, text)])
    theirs, notices = _last_labels(labels, columns, keys, text)
    joined = ours.join(theirs, on="_key", how="left", maintain_order="left")
    met = int(joined["_met"].is_not_null().sum())
    if not met:
        raise InvalidInput(
            "alone.nothing_joined",
            f"no prediction has a label: not one {' and '.join(keys)} is in both files",
            remedy=_examples(predictions, labels, keys),
        )
    lonely = len(theirs) - int(ours["_key"].unique().is_in(theirs["_key"].implode()).sum())
    if lonely:
        notices.append(f"{lonely:,} labels have no prediction and are left out.")
    at = joined["_at"].fill_null(NEVER).to_numpy() if "_at" in joined.columns else None
    return Labels(joined["label"], at, notices, ours["_key"])


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


def _last_labels(
    labels: Table, columns: Columns, keys: tuple[str, ...], text: list[bool]
) -> tuple[pl.DataFrame, list[str]]:
    assert columns.label  # noqa: S101 - guessed or refused before
    extra = [pl.col(columns.label_at).alias("_when")] if columns.label_at else []
    frame = labels.read([_key(keys, text), pl.col(columns.label).alias("label"), *extra])
    notices: list[str] = []
    if columns.label_at:
        times = read_times(frame["_when"].alias(columns.label_at))
        frame = frame.drop("_when").with_columns(_at=times.micros)
        notices += times.notices
    nameless = frame["_key"].null_count()
    frame = frame.drop_nulls("_key")
    if nameless:
        notices.append(f"{nameless:,} labels have no id and are left out.")
    return _one_each(frame, notices).with_columns(_met=pl.lit(value=True)), notices


def _one_each(frame: pl.DataFrame, notices: list[str]) -> pl.DataFrame:
    """One row a key: the last by its time, or else by its place in the file."""
    again = len(frame) - frame["_key"].n_unique()
    if not again:
        return frame
    timed = "_at" in frame.columns
    by = "by the time of the label" if timed else "by its place in the file"
    notices.append(f"{again:,} labels came for a key that had one: the last counts, {by}.")
    ordered = frame.sort("_at", nulls_last=False, maintain_order=True) if timed else frame
    return ordered.unique("_key", keep="last", maintain_order=True)


def _label_times(frame: pl.DataFrame, name: str | None) -> tuple[Ints | None, list[str]]:
    if not name:
        return None, []
    times = read_times(frame[name])
    return times.micros.fill_null(NEVER).to_numpy(), times.notices


def _examples(predictions: Table, labels: Table, keys: tuple[str, ...]) -> str:
    shown = [str(table.read(keys).head(1).row(0)[0]) for table in (predictions, labels)]
    return f"Name what joins them with --id. The first prediction has {keys[0]} {shown[0]!r}, the first label {shown[1]!r}."


def keys_of(predictions: Table, labels: Table, columns: Columns) -> tuple[tuple[str, ...], list[str]]:
    """What joins the files: the id; with the time as well where ids repeat and both files have that time."""
    if len(columns.id) != 1 or not columns.at or columns.at not in labels.schema or columns.label_at == columns.at:
        return columns.id, []
    ids = predictions.read([_key(columns.id, [False])])["_key"].drop_nulls()
    if ids.n_unique() == len(ids):
        return columns.id, []
    joint = (columns.id[0], columns.at)
    return joint, [f"{columns.id[0]} repeats, so labels are joined by {columns.id[0]} and {columns.at}."]
