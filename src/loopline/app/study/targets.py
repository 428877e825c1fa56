"""Labels and scores as numbers: which class is the positive one, which are the classes, what kind of model this is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput

Floats = npt.NDArray[np.float64]

POSITIVES = (
    "1",
    "true",
    "yes",
    "y",
    "t",
    "positive",
    "pos",
    "fraud",
    "churn",
    "churned",
    "default",
    "bad",
    "late",
    "click",
    "spam",
)
_TWO = 2
_SHOWN = 6


@dataclass(frozen=True)
class Outputs:
    """What a model gave back: float64 of shape (rows,), or (rows, k) for classes and quantiles; NaN where it gave nothing."""

    values: Floats
    names: tuple[str, ...] = ()
    hard: bool = False
    """Whether these are classes it chose, not probabilities."""


@dataclass(frozen=True)
class Target:
    """Labels as float64 (rows,), NaN where not known: 0 or 1, the index of the class, or the number."""

    values: Floats
    classes: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def is_text(column: pl.Series) -> bool:
    """Whether the column names classes and not numbers."""
    return column.dtype in (pl.String, pl.Categorical) or isinstance(column.dtype, pl.Enum)


def as_numbers(column: pl.Series) -> Floats:
    """The column as float64; what is missing or not finite becomes NaN. Texts such as `0.25` or `25%` are read.

    Raises `InvalidInput` for texts that are no numbers.
    """
    if is_text(column):
        text = column.cast(pl.String).str.strip_chars()
        percent = text.str.ends_with("%")
        numbers = text.str.strip_suffix("%").cast(pl.Float64, strict=False)
        unread = int((numbers.is_null() & text.is_not_null() & (text != "")).sum())
        if unread > len(column) // 100:
            shown = text.filter(numbers.is_null() & text.is_not_null()).head(1).to_list()
            raise InvalidInput(
                "alone.not_numbers",
                f"column {column.name!r} does not hold numbers: it has {shown[0]!r}",
                remedy="Name another column, or write numbers.",
            )
        column = pl.select(pl.when(percent.fill_null(value=False)).then(numbers / 100).otherwise(numbers)).to_series()
    values = column.cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
    values[~np.isfinite(values)] = np.nan
    return values


def read_outputs(frame: pl.DataFrame, names: Sequence[str]) -> Outputs:
    """Outputs from one column, from a column of lists, or from a column for each class or quantile."""
    first = frame[names[0]]
    if len(names) > 1:
        return Outputs(np.column_stack([as_numbers(frame[name]) for name in names]), tuple(names))
    if isinstance(first.dtype, (pl.List, pl.Array)):
        return Outputs(_lists(first))
    return Outputs(as_numbers(first))


def _lists(column: pl.Series) -> Floats:
    lists = column.cast(pl.List(pl.Float64))
    lengths = lists.list.len().drop_nulls().to_numpy()
    width = int(np.bincount(lengths).argmax()) if len(lengths) else 0
    if width < 1:
        raise InvalidInput(
            "alone.empty_lists", f"column {column.name!r} holds empty lists", remedy="Name another with --score."
        )
    values = np.full((len(column), width), np.nan)
    whole = (lists.list.len() == width).fill_null(value=False)
    values[whole.to_numpy()] = lists.filter(whole).explode().fill_null(np.nan).to_numpy().reshape(-1, width)
    values[~np.isfinite(values).all(axis=1)] = np.nan
    return values[:, 0] if width == 1 else values


def distinct(labels: pl.Series, at_most: int = 1000) -> list[object] | None:
    """The distinct labels in their order; None where there are more than `at_most`."""
    values = labels.drop_nulls().unique()
    if values.dtype.is_float():
        values = values.filter(values.is_not_nan())
    return None if len(values) > at_most else sorted(values.to_list(), key=lambda value: (str(type(value)), value))


def binary_target(labels: pl.Series, scores: Floats, positive: str) -> Target:
    """Labels of two values as 0 and 1. The positive one is as said, or a 1, a true, a word such as `yes`; else the one that
    has the higher scores. Raises `InvalidInput` where there are not two.
    """
    found = distinct(labels) or []
    texts = [label_text(value) for value in found]
    if len(found) > _TWO or not found:
        raise InvalidInput(
            "alone.not_binary",
            f"the labels are not of two kinds: {', '.join(texts[:_SHOWN])}",
            remedy="Say what the model gives with --kind, or name another column with --label.",
        )
    chosen, why = _positive(texts, labels, scores, positive)
    values = _equal(labels, found[texts.index(chosen)]) if chosen in texts else _equal(labels, None)
    other = next((text for text in texts if text != chosen), "")
    told = (
        ()
        if {chosen, other} <= {"0", "1", "true", "false", ""} and not why
        else (f"{chosen!r} is the positive label{why}.",)
    )
    return Target(values, (other, chosen), told)


def _positive(texts: list[str], labels: pl.Series, scores: Floats, positive: str) -> tuple[str, str]:
    if positive:
        if positive not in texts:
            raise InvalidInput(
                "alone.no_positive", f"no label is {positive!r}", remedy=f"The labels are: {', '.join(texts)}."
            )
        return positive, ", as you said"
    named = [text for text in texts if text.lower() in POSITIVES]
    if len(named) == 1 or len(texts) == 1:
        return (named or ["1" if texts == ["0"] else "true" if texts == ["false"] else texts[0]])[0], ""
    means = {text: _mean(scores[(labels.cast(pl.String) == text).fill_null(value=False).to_numpy()]) for text in texts}
    return max(means, key=means.__getitem__), ", as its scores are higher (--positive says otherwise)"


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else -np.inf


def label_text(value: object) -> str:
    """A label as it is written: `true`, `3`, `late`."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _equal(labels: pl.Series, value: object) -> Floats:
    """1 where the label is `value`, 0 where it is another, NaN where there is none."""
    missing = labels.is_null() | (labels.is_nan() if labels.dtype.is_float() else pl.Series([False]))
    same = (
        (labels == value).fill_null(value=False).to_numpy() if value is not None else np.zeros(len(labels), dtype=bool)
    )
    return np.where(missing.fill_null(value=True).to_numpy(), np.nan, same.astype(np.float64))


def class_target(labels: pl.Series, classes: Sequence[str]) -> Target:
    """Labels as the index into `classes`; a label that is none of them is not known, and said."""
    texts = labels.cast(pl.Int64, strict=False) if labels.dtype.is_float() else labels
    index = {name: float(place) for place, name in enumerate(classes)}
    values = (
        texts.cast(pl.String).replace_strict(index, default=None, return_dtype=pl.Float64).fill_null(np.nan).to_numpy()
    )
    strange = int(np.isnan(values).sum()) - labels.null_count()
    if strange == len(labels) - labels.null_count():
        raise InvalidInput(
            "alone.other_classes",
            f"no label is one of the classes {', '.join(classes[:_SHOWN])}",
            remedy="Name the score columns after the labels, e.g. score_cat, or list them in the order of the sorted labels.",
        )
    told = (f"{strange:,} labels are none of the classes and count as not known.",) if strange else ()
    return Target(values, tuple(classes), told)


def number_target(labels: pl.Series) -> Target:
    """Labels as numbers."""
    return Target(as_numbers(labels))


def read_judged(column: pl.Series, kind: str, classes: tuple[str, ...]) -> Floats:
    """What the judge says of each row (rows,): of two classes the probability of the positive one, the place of the class, or the number; NaN: nothing.

    Raises `InvalidInput` for what is none of these, and for rankings.
    """
    if kind == "ranking":
        raise InvalidInput(
            "alone.judged_lists", "lists of a ranking cannot be judged row by row", remedy="Leave --judge out."
        )
    if kind in {"binary", "multiclass"} and (is_text(column) or column.dtype == pl.Boolean or kind == "multiclass"):
        places = {name: float(place) for place, name in enumerate(classes)}
        found = [None if value is None else places.get(label_text(value)) for value in column.to_list()]
        said = pl.Series(found, dtype=pl.Float64).fill_null(np.nan).to_numpy()
    else:
        said = as_numbers(column)
    known = said[~np.isnan(said)]
    if not len(known) or (kind == "binary" and ((known < 0) | (known > 1)).any()):
        raise InvalidInput(
            "alone.judged_unread",
            f"column {column.name!r} is no judge's: it holds neither labels nor probabilities of them",
            remedy="Name another with --judge: the label that is expected of each row, or of two classes its probability.",
        )
    return said
