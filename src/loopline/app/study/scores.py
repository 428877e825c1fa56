"""What kind of model gives such scores for such labels, and how both are read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.app.study import targets
from loopline.app.study.columns import Columns
from loopline.app.study.files import Table
from loopline.app.study.join import MOST_KINDS, Labels
from loopline.app.study.naming import class_names, quantile_levels
from loopline.app.study.shelf import Shelf
from loopline.app.study.targets import OutputReader, Target
from loopline.errors import InvalidInput

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

_TWO = 2


@dataclass(frozen=True)
class Expected:
    """What is known of outputs and labels beforehand; what is empty is found out."""

    kind: str = ""
    positive: str = ""
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kinds:
    """The different labels that predictions have, and how many `rows` have each; `places` among all that the file has, of which there are `count`."""

    values: pl.Series
    rows: pl.Series
    places: npt.NDArray[np.int64]
    count: int | None

    @property
    def known(self) -> list[object] | None:
        """The labels in their order; None where they are too many to be classes."""
        return None if self.count is None else targets.known_labels(self.values)

    @property
    def text(self) -> bool:
        """Whether labels are texts."""
        return self.count is not None and targets.is_text(self.values)

    def each(self, target: Target) -> Floats | None:
        """What each place of `Labels.given` is as a number, -1 among them; None where labels are given as numbers."""
        if self.count is None:
            return None
        found = np.full(self.count + 1, np.nan)
        found[self.places] = target.values
        return found


def kinds_of(joined: Labels, shelf: Shelf) -> Kinds:
    """The different labels of these predictions."""
    if joined.values is None:
        empty = pl.Series("label", [], dtype=pl.Float64)
        return Kinds(empty, pl.Series([], dtype=pl.Int64), np.zeros(0, dtype=np.int64), None)
    rows = np.zeros(len(joined.values) + 1, dtype=np.int64)
    for part in shelf.parts(len(joined.given)):
        rows += np.bincount(joined.given[part] + 1, minlength=len(rows))
    places = np.flatnonzero(rows[1:])
    return Kinds(joined.values.gather(places), pl.Series(rows[1:][places]), places, len(joined.values))


@dataclass(frozen=True)
class Scores:
    """How scores are read: as numbers, or as the `chosen` classes; and what kind of model they are of."""

    read: Callable[[pl.DataFrame], Floats]
    check: Callable[[], None]
    kind: str
    classes: tuple[str, ...] = ()
    levels: tuple[float, ...] = ()
    positive: str = ""
    chosen: bool = False

    def target(self, kinds: Kinds, outputs: Floats, given: Array, shelf: Shelf) -> Target:
        """What each of the different labels is as a number."""
        if self.kind == "binary":
            means: Callable[[], Sequence[float]] = lambda: _means(kinds, outputs, given, shelf)  # noqa: E731 - short
            if self.chosen:
                means = lambda: [0.0] * len(kinds.values)  # noqa: E731 - chosen classes are neither high nor low
            return targets.binary_target(kinds.values, means, self.positive)
        if self.kind == "multiclass":
            return targets.class_target(kinds.values, kinds.rows, self.classes)
        return targets.number_target(kinds.values, kinds.rows)


def scores_of(predictions: Table, columns: Columns, expected: Expected, kinds: Kinds, part: int) -> Scores:
    """How the scores are read. Raises `InvalidInput` for scores that do not go with the labels."""
    first, kind = columns.score[0], expected.kind
    if len(columns.score) == 1 and targets.of_text(predictions.schema[first]) and kind in {"", "binary", "multiclass"}:
        chosen = _chosen(predictions, first, expected, kinds, part)
        if chosen is not None:
            return chosen
    width = None
    if isinstance(predictions.schema[first], (pl.List, pl.Array)):
        width = targets.width_of(predictions.tally(_length(first, predictions), MOST_KINDS, part), first)
    reader = OutputReader(columns.score, width)
    levels = quantile_levels(columns.score)
    kind = kind or _kind(reader.shape, kinds, levels)
    if kind == "binary":
        place = _positive_place(reader)
        read = reader.read if place is None else lambda frame: reader.read(frame)[:, place]
        return Scores(read, reader.check, kind, positive=expected.positive)
    if kind == "multiclass":
        classes = expected.classes or tuple(_classes(reader, kinds))
        return Scores(reader.read, reader.check, kind, classes)
    return Scores(reader.read, reader.check, kind, levels=levels if kind == "quantile" else ())


def _length(name: str, table: Table) -> pl.Expr:
    return pl.col(name).arr.len() if isinstance(table.schema[name], pl.Array) else pl.col(name).list.len()


def _kind(width: int | None, kinds: Kinds, levels: Sequence[float]) -> str:
    """What kind of model gives such outputs for such labels."""
    found = kinds.known
    if levels and not kinds.text:
        return "quantile"
    if width is not None:
        two = width == _TWO and found is not None and len(found) <= _TWO
        return "binary" if two else "multiclass"
    if found is not None and (len(found) <= _TWO or kinds.text):
        return "binary"
    return "regression"


def _positive_place(reader: OutputReader) -> int | None:
    """Of two columns of probabilities the one of the positive class: by its name, or the second; None for a single one."""
    if reader.shape is None:
        return None
    if reader.shape != _TWO:
        raise InvalidInput(
            "alone.too_many_scores",
            f"{reader.shape} scores do not go with labels of two kinds",
            remedy="Name one column with --score, or say --kind multiclass.",
        )
    named = [place for place, name in enumerate(class_names(reader.names)) if name.lower() in targets.POSITIVES]
    return named[0] if len(named) == 1 else 1


def _classes(reader: OutputReader, kinds: Kinds) -> Sequence[str]:
    if reader.names:
        return class_names(reader.names)
    found = [targets.label_text(value) for value in kinds.known or []]
    width = reader.shape or 1
    numbered = [str(place) for place in range(width)]
    if set(found) <= set(numbered):
        return numbered
    if len(found) == width:
        return found
    raise InvalidInput(
        "alone.classes_differ",
        f"{width} scores do not go with {len(found)} different labels",
        remedy="Give a column score_<class> for each class.",
    )


def _chosen(predictions: Table, name: str, expected: Expected, kinds: Kinds, part: int) -> Scores | None:
    """Texts as scores are the classes that the model chose, unless they are numbers in text."""
    given = predictions.tally(_stripped(name), MOST_KINDS, part)
    if given is None:
        return None
    numbers = given["value"].str.strip_suffix("%").cast(pl.Float64, strict=False)
    if int(given["rows"].filter(numbers.is_null()).sum()) <= predictions.rows // 100:
        return None
    classes = list(expected.classes) or sorted(
        {*given["value"].to_list(), *kinds.values.cast(pl.String).drop_nulls().to_list()}
    )
    if len(classes) == _TWO:
        target = targets.binary_target(kinds.values, lambda: [0.0] * len(kinds.values), expected.positive)
        positive = target.classes[1]

        def is_positive(frame: pl.DataFrame) -> Floats:
            text = frame.select(_stripped(name)).to_series()
            return (text == positive).cast(pl.Float64).fill_null(np.nan).to_numpy()

        return Scores(is_positive, _unchecked, "binary", positive=expected.positive, chosen=True)
    index = {one: place for place, one in enumerate(classes)}

    def one_hot(frame: pl.DataFrame) -> Floats:
        text = frame.select(_stripped(name)).to_series()
        places = text.replace_strict(index, default=None, return_dtype=pl.Int64)
        values = np.full((len(text), len(classes)), np.nan)
        values[places.is_not_null().to_numpy()] = np.eye(len(classes))[places.drop_nulls().to_numpy()]
        return values

    return Scores(one_hot, _unchecked, "multiclass", tuple(classes), chosen=True)


def _stripped(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.String).str.strip_chars()


def _unchecked() -> None:
    """Whatever class was chosen, it is one."""


def _means(kinds: Kinds, outputs: Floats, given: Array, shelf: Shelf) -> list[float]:
    """The mean score of the rows of each label; minus infinity where none has a score."""
    width = 1 if kinds.count is None else kinds.count + 1
    rows, sums = np.zeros(width), np.zeros(width)
    for part in shelf.parts(len(given)):
        made = ~np.isnan(outputs[part])
        codes = given[part][made] + 1
        rows += np.bincount(codes, minlength=width)
        sums += np.bincount(codes, weights=outputs[part][made], minlength=width)
    with np.errstate(invalid="ignore"):
        means = np.where(rows > 0, sums / np.maximum(rows, 1), -np.inf)
    found: list[float] = means[1:][kinds.places].tolist()
    return found
