"""The rows that are watched: predictions with their labels, in the order of time, as arrays."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt

from loopline.app.study.shelf import Kind, Shelf
from loopline.app.study.texts import Texts
from loopline.errors import InvalidInput
from loopline.evaluation.calibration import LogisticCalibrator, fit_logistic

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Chosen = Callable[[slice], Mask]

KINDS = ("binary", "multiclass", "regression", "quantile", "ranking")


@dataclass(frozen=True)
class Rows:
    """Predictions in the order of time. All arrays have one length.

    `at`: microseconds since 1970, UTC; where the files hold no times (`timed` is False) the place of the row. `outputs`: float64
    (rows,) or (rows, k), NaN where none was made. `label`: float64, NaN where not known. `label_at`: as `at`, `NEVER` where not
    known; None without such a column. `order`: the row's place in the file. `earlier`: the earlier model's score. `judged`: what a judge
    says of the label, `propensity`: how probably it was asked for.
    """

    kind: str
    at: Ints
    timed: bool
    outputs: Floats
    label: Floats
    order: Ints
    label_at: Ints | None = None
    version: Texts | None = None
    decision: Texts | None = None
    earlier: Floats | None = None
    group: Texts | None = None
    classes: tuple[str, ...] = ()
    levels: tuple[float, ...] = ()
    hard: bool = False
    margins: bool = False
    """Whether scores were no probabilities and were made some; `calibrated` does so."""
    notices: tuple[str, ...] = ()
    judged: Floats | None = None
    propensity: Floats | None = None
    shelf: Shelf = field(default_factory=Shelf)
    """Where the columns lie; what is made of all rows is read from it, and put on it, part by part."""

    @property
    def made(self) -> Mask:
        """Rows with a score, of all rows at once."""
        return self.made_in(slice(0, len(self)))

    @property
    def known(self) -> Mask:
        """Rows with a score and a label, of all rows at once."""
        return self.known_in(slice(0, len(self)))

    def made_in(self, part: slice) -> Mask:
        """Which of some rows have a score."""
        some = self.outputs[part]
        return ~np.isnan(some if some.ndim == 1 else some[:, 0])

    def known_in(self, part: slice) -> Mask:
        """Which of some rows have a score and a label."""
        found: Mask = self.made_in(part) & ~np.isnan(self.label[part])
        return found

    def parts(self, begin: int = 0, end: int | None = None) -> Iterator[slice]:
        """All rows, or those from `begin` up to, not including, `end`, some at a time."""
        return self.shelf.parts(len(self) if end is None else end, begin)

    def count(self, of: Chosen, begin: int = 0, end: int | None = None) -> int:
        """How many rows are chosen, by what says so of some rows."""
        return sum(int(np.count_nonzero(of(part))) for part in self.parts(begin, end))

    def every(self, step: int, of: Chosen, begin: int = 0, end: int | None = None) -> Ints:
        """The places of every so-manieth of the rows that are chosen."""
        found, seen = [np.zeros(0, dtype=np.int64)], 0
        for part in self.parts(begin, end):
            places = np.flatnonzero(of(part)) + part.start
            found.append(places[-seen % step :: step])
            seen += len(places)
        return np.concatenate(found)

    def taken(self, column: npt.NDArray[Kind], places: Ints) -> npt.NDArray[Kind]:
        """What a column of all rows holds at rising places."""
        return self.shelf.taken(column, places)

    def __len__(self) -> int:
        """How many predictions."""
        return len(self.at)


def check_classes(rows: Rows) -> None:
    """Raise `InvalidInput` where all labels are one and the same class."""
    if rows.kind not in {"binary", "multiclass"}:
        return
    classes: set[float] = set()
    for part in rows.parts():
        classes.update(np.unique(rows.label[part][rows.known_in(part)]).tolist())
    if len(classes) == 1:
        raise InvalidInput(
            "alone.one_class",
            "all labels are the same: there is nothing that a score could tell apart",
            remedy="Give files with outcomes of both kinds; where absence of a label means no, say --absent negative and --matures.",
        )


def out_of_range(rows: Rows) -> bool:
    """Whether scores for labels of two kinds are no probabilities: margins, logits, or points of a scale."""
    if rows.kind != "binary":
        return False
    return bool(rows.count(lambda part: (rows.outputs[part] < 0) | (rows.outputs[part] > 1)))


class Margins(msgspec.Struct, frozen=True):
    """The line that makes scores of any scale probabilities: `sigmoid(calibrator of (score - middle) / width)`."""

    middle: float
    width: float
    calibrator: LogisticCalibrator

    def apply(self, scores: Floats) -> Floats:
        """Probabilities, of the shape of `scores`."""
        return self.calibrator.apply(_squashed(scores, self.middle, self.width))


def fit_margins(scores: Floats, labels: Floats) -> Margins:
    """The line fitted on these rows, without NaN, by Platt's method."""
    middle, width = float(np.mean(scores)), float(np.std(scores)) or 1.0
    return Margins(middle, width, fit_logistic(_squashed(scores, middle, width), labels))


def _squashed(scores: Floats, middle: float, width: float) -> Floats:
    return 1 / (1 + np.exp(-np.clip((scores - middle) / width, -13.0, 13.0)))
