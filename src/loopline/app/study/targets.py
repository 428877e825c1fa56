"""Labels and scores as numbers: which class is the positive one, which are the classes, what kind of model this is."""

from collections.abc import Callable, Sequence
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
class Target:
    """What each different label is as float64, NaN where it is not known: 0 or 1, the index of the class, or the number."""

    values: Floats
    classes: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def is_text(column: pl.Series) -> bool:
    """Whether the column names classes and not numbers."""
    return of_text(column.dtype)


def of_text(dtype: pl.DataType) -> bool:
    """Whether a column of that type does."""
    return dtype in (pl.String, pl.Categorical) or isinstance(dtype, pl.Enum)


def as_numbers(column: pl.Series) -> Floats:
    """The column as float64; what is missing or not finite becomes NaN. Texts such as `0.25` or `25%` are read.

    Raises `InvalidInput` for texts that are no numbers.
    """
    reader = NumberReader(column.name)
    values = reader.read(column)
    reader.check()
    return values


class NumberReader:
    """Reads a column of numbers part by part, as `as_numbers`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rows, self._unread, self._shown = 0, 0, ""

    def read(self, column: pl.Series) -> Floats:
        """Some rows."""
        self._rows += len(column)
        if is_text(column):
            column = self._of_text(column.cast(pl.String).str.strip_chars())
        values = column.cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
        values[~np.isfinite(values)] = np.nan
        return values

    def check(self) -> None:
        """Raise `InvalidInput` where more than one text of a hundred was no number, once all were read."""
        if self._unread > self._rows // 100:
            raise _no_numbers(self._name, self._shown)

    def _of_text(self, text: pl.Series) -> pl.Series:
        percent = text.str.ends_with("%")
        numbers = text.str.strip_suffix("%").cast(pl.Float64, strict=False)
        unread = text.filter(numbers.is_null() & text.is_not_null() & (text != ""))
        self._unread += len(unread)
        self._shown = self._shown or str(next(iter(unread.head(1).to_list()), ""))
        return pl.select(pl.when(percent.fill_null(value=False)).then(numbers / 100).otherwise(numbers)).to_series()


def _no_numbers(name: str, shown: str) -> InvalidInput:
    return InvalidInput(
        "alone.not_numbers",
        f"column {name!r} does not hold numbers: it has {shown!r}",
        remedy="Name another column, or write numbers.",
    )


class OutputReader:
    """Reads outputs part by part: from one column, from a column of lists of `width`, or from a column for each class or quantile."""

    def __init__(self, names: Sequence[str], width: int | None) -> None:
        self._names, self._width = tuple(names), width
        self._readers = [NumberReader(name) for name in names]

    @property
    def names(self) -> tuple[str, ...]:
        """What the columns are called, where there are several."""
        return self._names if len(self._names) > 1 else ()

    @property
    def shape(self) -> int | None:
        """How many outputs a row has; None for a single number."""
        if self._width is not None:
            return None if self._width == 1 else self._width
        return len(self._names) if len(self._names) > 1 else None

    def read(self, frame: pl.DataFrame) -> Floats:
        """Some rows: float64 (rows,), or (rows, k); NaN where nothing was given."""
        if self._width is not None:
            return _lists(frame[self._names[0]], self._width)
        values = [reader.read(frame[name]) for reader, name in zip(self._readers, self._names, strict=True)]
        return values[0] if len(values) == 1 else np.column_stack(values)

    def check(self) -> None:
        """Raise `InvalidInput` for texts that were no numbers, once all were read."""
        for reader in self._readers:
            reader.check()


def width_of(lengths: pl.DataFrame | None, name: str) -> int:
    """The most frequent length of lists, from a tally of lengths. Raises `InvalidInput` where it is none."""
    width = 0 if lengths is None or not len(lengths) else int(lengths["value"][int(lengths["rows"].arg_max() or 0)])
    if width < 1:
        raise InvalidInput(
            "alone.empty_lists", f"column {name!r} holds empty lists", remedy="Name another with --score."
        )
    return width


def _lists(column: pl.Series, width: int) -> Floats:
    lists = column.cast(pl.List(pl.Float64))
    values = np.full((len(column), width), np.nan)
    whole = (lists.list.len() == width).fill_null(value=False)
    values[whole.to_numpy()] = lists.filter(whole).explode().fill_null(np.nan).to_numpy().reshape(-1, width)
    values[~np.isfinite(values).all(axis=1)] = np.nan
    return values[:, 0] if width == 1 else values


def known_labels(values: pl.Series, at_most: int = 1000) -> list[object] | None:
    """Distinct labels in their order, without NaN; None where there are more than `at_most`."""
    if values.dtype.is_float():
        values = values.filter(values.is_not_nan())
    return None if len(values) > at_most else sorted(values.to_list(), key=lambda value: (str(type(value)), value))


def binary_target(values: pl.Series, means: Callable[[], Sequence[float]], positive: str) -> Target:
    """Distinct labels, of which there are two, as 0 and 1. The positive one is as said, or a 1, a true, a word such as `yes`; else the one that
    has the higher mean of scores, by `means` of each of `values`. Raises `InvalidInput` where there are not two.
    """
    found = known_labels(values) or []
    texts = [label_text(value) for value in found]
    if len(found) > _TWO or not found:
        raise InvalidInput(
            "alone.not_binary",
            f"the labels are not of two kinds: {', '.join(texts[:_SHOWN])}",
            remedy="Say what the model gives with --kind, or name another column with --label.",
        )
    chosen, why = _positive(texts, lambda: _by_label(values, means()), positive)
    other = next((text for text in texts if text != chosen), "")
    each = [
        np.nan if isinstance(value, float) and np.isnan(value) else float(label_text(value) == chosen)
        for value in values.to_list()
    ]
    told = (
        ()
        if {chosen, other} <= {"0", "1", "true", "false", ""} and not why
        else (f"{chosen!r} is the positive label{why}.",)
    )
    return Target(np.array(each, dtype=np.float64), (other, chosen), told)


def _by_label(values: pl.Series, means: Sequence[float]) -> dict[str, float]:
    return {label_text(value): mean for value, mean in zip(values.to_list(), means, strict=True)}


def _positive(texts: list[str], means: Callable[[], dict[str, float]], positive: str) -> tuple[str, str]:
    if positive:
        if positive not in texts:
            raise InvalidInput(
                "alone.no_positive", f"no label is {positive!r}", remedy=f"The labels are: {', '.join(texts)}."
            )
        return positive, ", as you said"
    named = [text for text in texts if text.lower() in POSITIVES]
    if len(named) == 1 or len(texts) == 1:
        return (named or ["1" if texts == ["0"] else "true" if texts == ["false"] else texts[0]])[0], ""
    of = means()
    return max(texts, key=of.__getitem__), ", as its scores are higher (--positive says otherwise)"


def label_text(value: object) -> str:
    """A label as it is written: `true`, `3`, `late`."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def class_target(values: pl.Series, rows: pl.Series, classes: Sequence[str]) -> Target:
    """Distinct labels, each of so many rows, as the index into `classes`; a label that is none of them is not known, and said."""
    texts = values.cast(pl.Int64, strict=False) if values.dtype.is_float() else values
    index = {name: float(place) for place, name in enumerate(classes)}
    each = (
        texts.cast(pl.String).replace_strict(index, default=None, return_dtype=pl.Float64).fill_null(np.nan).to_numpy()
    )
    strange = int(rows.filter(pl.Series(np.isnan(each))).sum())
    if strange == int(rows.sum()):
        raise InvalidInput(
            "alone.other_classes",
            f"no label is one of the classes {', '.join(classes[:_SHOWN])}",
            remedy="Name the score columns after the labels, e.g. score_cat, or list them in the order of the sorted labels.",
        )
    told = (f"{strange:,} labels are none of the classes and count as not known.",) if strange else ()
    return Target(each, tuple(classes), told)


def number_target(values: pl.Series, rows: pl.Series) -> Target:
    """Distinct labels, each of so many rows, as numbers. Raises `InvalidInput` as `as_numbers`."""
    each = NumberReader(values.name).read(values)
    if is_text(values):
        text = values.cast(pl.String).str.strip_chars()
        unread = text.str.strip_suffix("%").cast(pl.Float64, strict=False).is_null() & (text != "")
        if int(rows.filter(unread).sum()) > int(rows.sum()) // 100:
            raise _no_numbers(values.name, str(text.filter(unread)[0]))
    return Target(each)


def read_judged(column: pl.Series, kind: str, classes: tuple[str, ...]) -> Floats:
    """What the judge says of each row (rows,): of two classes the probability of the positive one, the place of the class, or the number; NaN: nothing.

    Raises `InvalidInput` for what is none of these, and for rankings.
    """
    reader = JudgeReader(column.name, kind, classes)
    said = reader.read(column)
    reader.check()
    return said


class JudgeReader:
    """Reads what a judge says part by part, as `read_judged`."""

    def __init__(self, name: str, kind: str, classes: tuple[str, ...]) -> None:
        if kind == "ranking":
            raise InvalidInput(
                "alone.judged_lists", "lists of a ranking cannot be judged row by row", remedy="Leave --judge out."
            )
        self._name, self._kind = name, kind
        self._places = {one: float(place) for place, one in enumerate(classes)}
        self._numbers = NumberReader(name)
        self._known, self._good = 0, True

    def read(self, column: pl.Series) -> Floats:
        """Some rows."""
        of_classes = self._kind in {"binary", "multiclass"}
        if of_classes and (is_text(column) or column.dtype == pl.Boolean or self._kind == "multiclass"):
            found = [None if value is None else self._places.get(label_text(value)) for value in column.to_list()]
            said = pl.Series(found, dtype=pl.Float64).fill_null(np.nan).to_numpy()
        else:
            said = self._numbers.read(column)
        known = said[~np.isnan(said)]
        self._known += len(known)
        self._good = self._good and not (self._kind == "binary" and ((known < 0) | (known > 1)).any())
        return said

    def check(self) -> None:
        """Raise `InvalidInput` where it said nothing that can be read, once all were read."""
        self._numbers.check()
        if not self._known or not self._good:
            raise InvalidInput(
                "alone.judged_unread",
                f"column {self._name!r} is no judge's: it holds neither labels nor probabilities of them",
                remedy="Name another with --judge: the label that is expected of each row, or of two classes its probability.",
            )
