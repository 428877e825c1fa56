"""Kinds of model: what a model gives back for a row, and how that lies in arrays and columns."""

from itertools import pairwise
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput

Kind = Literal["binary", "multiclass", "regression", "quantile", "ranking", "multioutput"]
Floats = npt.NDArray[np.float64]

_LEAST = 2


def _fit(names: tuple[str, ...], *, wanted: bool) -> bool:
    return len(set(names)) == len(names) >= _LEAST if wanted else not names


class Output(msgspec.Struct, frozen=True):
    """What a model of a `kind` gives back for a row, as float64.

    - `"binary"`: the probability of the positive class; `"regression"`: the value; `"ranking"`: a score that orders the rows of a
      group. Arrays of shape (n,).
    - `"multiclass"`: the probability of each of `classes`, in their order. Shape (n, len(classes)).
    - `"quantile"`: the quantile at each of `levels`, rising. Shape (n, len(levels)).
    - `"multioutput"`: the value of each of `targets`, in their order. Shape (n, len(targets)). Such models are served and logged; a
      loop, which joins one label to a row, does not judge them.

    Labels are float64 of shape (n,): 0 or 1, a number, a grade of relevance from 0, the place of the class in `classes`.
    Raises `InvalidInput` for classes or levels that do not go with the kind.
    """

    kind: Kind = "binary"
    classes: tuple[str, ...] = ()
    levels: tuple[float, ...] = ()
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names_fit = _fit(self.classes, wanted=self.kind == "multiclass") and _fit(
            self.targets, wanted=self.kind == "multioutput"
        )
        rising = all(low < high for low, high in pairwise((0.0, *self.levels, 1.0)))
        levels_fit = bool(self.levels) and rising if self.kind == "quantile" else not self.levels
        if not (names_fit and levels_fit):
            raise InvalidInput(
                "output.unfit",
                f"classes {list(self.classes)}, levels {list(self.levels)} and targets {list(self.targets)} do not make a {self.kind} model",
                remedy="Give two or more different classes for multiclass, or targets for multioutput, rising levels in (0, 1) for quantile, else none.",
            )

    @property
    def width(self) -> int:
        """How many numbers a row has."""
        return len(self.classes) or len(self.levels) or len(self.targets) or 1

    @property
    def wide(self) -> bool:
        """Whether arrays have a second axis; a single quantile has one, too."""
        return bool(self.classes or self.levels or self.targets)

    @property
    def column(self) -> str:
        """Which column of a prediction's record holds the outputs."""
        return "outputs" if self.wide else "score"

    def shaped(self, outputs: npt.ArrayLike) -> Floats:
        """`outputs` as float64 in the shape of the kind."""
        found = np.asarray(outputs, dtype=np.float64)
        return found.reshape(-1, self.width) if self.wide else found.reshape(-1)

    def scores(self, outputs: Floats) -> Floats:
        """One number a row, shape (n,): the likeliest class's probability, the middle quantile, the first target's value, or the output
        itself.
        """
        if self.kind == "multiclass":
            likeliest: Floats = outputs.max(axis=1)
            return likeliest
        if self.kind == "multioutput":
            return outputs[:, 0]
        return outputs[:, self.middle] if self.kind == "quantile" else outputs

    @property
    def middle(self) -> int:
        """The place of the level nearest to a half."""
        return min(range(len(self.levels)), key=lambda place: abs(self.levels[place] - 0.5))


BINARY = Output()


def as_column(name: str, outputs: Floats) -> pl.Series:
    """Outputs as a column: Float64, or List(Float64) where a row has several."""
    if outputs.ndim == 1:
        return pl.Series(name, outputs, dtype=pl.Float64)
    return pl.Series(name, outputs, dtype=pl.Array(pl.Float64, outputs.shape[1])).cast(pl.List(pl.Float64))


def from_column(column: pl.Series) -> Floats:
    """The outputs in a column as `as_column` makes them; null is NaN. Raises `InvalidInput` for lists of different lengths."""
    if not isinstance(column.dtype, (pl.List, pl.Array)):
        return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    lists = column.cast(pl.List(pl.Float64))
    widths = lists.list.len().drop_nulls().unique()
    if len(widths) > 1:
        raise InvalidInput(
            "output.different_widths",
            f"column {column.name!r} holds lists of different lengths",
            remedy="Give every row as many numbers.",
        )
    width = int(widths[0]) if len(widths) else 1
    filled = lists.fill_null(pl.lit([float("nan")] * width, dtype=pl.List(pl.Float64)))
    return filled.list.to_array(width).to_numpy().astype(np.float64).reshape(len(column), width)
