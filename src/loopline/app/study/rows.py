"""The rows that are watched: predictions with their labels, in the order of time, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.app.study import targets
from loopline.app.study.columns import Columns
from loopline.app.study.files import Table
from loopline.app.study.join import NEVER, Labels, keys_of, labels_from, labels_within
from loopline.app.study.naming import class_names, quantile_levels
from loopline.app.study.targets import Outputs, Target
from loopline.app.study.times import read_times
from loopline.errors import InvalidInput
from loopline.evaluation.calibration import LogisticCalibrator, fit_logistic

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

KINDS = ("binary", "multiclass", "regression", "quantile", "ranking")
_TWO = 2


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
    version: pl.Series | None = None
    decision: pl.Series | None = None
    earlier: Floats | None = None
    group: pl.Series | None = None
    classes: tuple[str, ...] = ()
    levels: tuple[float, ...] = ()
    hard: bool = False
    margins: bool = False
    """Whether scores were no probabilities and were made some; `calibrated` does so."""
    notices: tuple[str, ...] = ()
    judged: Floats | None = None
    propensity: Floats | None = None

    @property
    def made(self) -> Mask:
        """Rows with a score."""
        return ~np.isnan(self.outputs if self.outputs.ndim == 1 else self.outputs[:, 0])

    @property
    def known(self) -> Mask:
        """Rows with a score and a label."""
        return self.made & ~np.isnan(self.label)

    def __len__(self) -> int:
        """How many predictions."""
        return len(self.at)


@dataclass(frozen=True)
class Expected:
    """What is known of outputs and labels beforehand; what is empty is found out."""

    kind: str = ""
    positive: str = ""
    classes: tuple[str, ...] = ()


def read_rows(
    predictions: Table, labels: Table | None, columns: Columns, expected: Expected, earlier: Table | None
) -> Rows:
    """The rows of these files. Raises `InvalidInput` for what cannot be read as scores, labels or times."""
    names = [
        *columns.score,
        *(
            name
            for name in (
                columns.at,
                columns.version,
                columns.decision,
                columns.group,
                columns.earlier,
                columns.judge,
                columns.propensity,
            )
            if name
        ),
    ]
    frame = predictions.read(list(dict.fromkeys(names)))
    notices: list[str] = []
    joined = _labels(predictions, labels, columns, notices)
    outputs, target, kind, levels = _numbers(frame, joined, columns, expected)
    notices += [*joined.notices, *target.notices]
    at, timed = _times(frame, columns, notices)
    order = _order(at, _repeated(joined, at, notices), timed, notices)
    made = Rows(
        kind=kind,
        at=at[order],
        timed=timed,
        outputs=outputs.values[order],
        label=target.values[order],
        order=order,
        label_at=None if joined.at is None else joined.at[order],
        version=_text(frame, columns.version, order),
        decision=_text(frame, columns.decision, order),
        earlier=_earlier(predictions, frame, columns, earlier, order),
        group=_text(frame, columns.group, order),
        classes=target.classes,
        levels=levels,
        hard=outputs.hard,
        judged=targets.read_judged(frame[columns.judge], kind, target.classes)[order] if columns.judge else None,
        propensity=targets.as_numbers(frame[columns.propensity])[order] if columns.propensity else None,
    )
    _check(made, columns)
    return replace(made, notices=(*notices, *_told(made)))


def _labels(predictions: Table, labels: Table | None, columns: Columns, notices: list[str]) -> Labels:
    if labels is None:
        return labels_within(predictions, columns)
    keys, told = keys_of(predictions, labels, columns)
    notices += told
    return labels_from(predictions, labels, columns, keys)


def _numbers(
    frame: pl.DataFrame, joined: Labels, columns: Columns, expected: Expected
) -> tuple[Outputs, Target, str, tuple[float, ...]]:
    kind, positive = expected.kind, expected.positive
    if len(columns.score) == 1 and targets.is_text(frame[columns.score[0]]) and kind in {"", "binary", "multiclass"}:
        chosen = _chosen_classes(frame[columns.score[0]], joined.values, expected)
        if chosen is not None:
            return chosen
    outputs = targets.read_outputs(frame, columns.score)
    levels = quantile_levels(columns.score)
    kind = kind or _kind(outputs, joined.values, levels)
    if kind == "binary":
        outputs = _of_positive(outputs)
        target = targets.binary_target(joined.values, outputs.values, positive)
        hard = set(np.unique(outputs.values[~np.isnan(outputs.values)][:100_000])) <= {0.0, 1.0}
        return Outputs(outputs.values, hard=hard), target, kind, ()
    if kind == "multiclass":
        return (
            outputs,
            targets.class_target(joined.values, expected.classes or _classes(outputs, joined.values)),
            kind,
            (),
        )
    return outputs, targets.number_target(joined.values), kind, levels if kind == "quantile" else ()


def _kind(outputs: Outputs, labels: pl.Series, levels: Sequence[float]) -> str:
    """What kind of model gives such outputs for such labels."""
    found = targets.distinct(labels)
    if levels and not targets.is_text(labels):
        return "quantile"
    if outputs.values.ndim > 1:
        two = outputs.values.shape[1] == _TWO and found is not None and len(found) <= _TWO
        return "binary" if two else "multiclass"
    if found is not None and (len(found) <= _TWO or targets.is_text(labels)):
        return "binary"
    return "regression"


def _of_positive(outputs: Outputs) -> Outputs:
    """Of two columns of probabilities the one of the positive class: by its name, or the second."""
    if outputs.values.ndim == 1:
        return outputs
    if outputs.values.shape[1] != _TWO:
        raise InvalidInput(
            "alone.too_many_scores",
            f"{outputs.values.shape[1]} scores do not go with labels of two kinds",
            remedy="Name one column with --score, or say --kind multiclass.",
        )
    named = [place for place, name in enumerate(class_names(outputs.names)) if name.lower() in targets.POSITIVES]
    return Outputs(outputs.values[:, named[0] if len(named) == 1 else 1])


def _classes(outputs: Outputs, labels: pl.Series) -> Sequence[str]:
    if outputs.names:
        return class_names(outputs.names)
    found = [targets.label_text(value) for value in targets.distinct(labels) or []]
    width = outputs.values.shape[1] if outputs.values.ndim > 1 else 1
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


def _chosen_classes(
    column: pl.Series, labels: pl.Series, expected: Expected
) -> tuple[Outputs, Target, str, tuple[float, ...]] | None:
    """Texts as scores are the classes that the model chose, unless they are numbers in text."""
    text = column.cast(pl.String).str.strip_chars()
    if text.str.strip_suffix("%").cast(pl.Float64, strict=False).null_count() <= text.null_count() + len(text) // 100:
        return None
    classes = list(expected.classes) or sorted(
        {*text.drop_nulls().unique().to_list(), *labels.cast(pl.String).drop_nulls().unique().to_list()}
    )
    if len(classes) == _TWO:
        place = targets.binary_target(labels, np.zeros(len(labels)), expected.positive)
        chosen = np.where(
            text.is_null().to_numpy(),
            np.nan,
            (text == place.classes[1]).fill_null(value=False).to_numpy().astype(float),
        )
        return Outputs(chosen, hard=True), place, "binary", ()
    index = {name: number for number, name in enumerate(classes)}
    places = text.replace_strict(index, default=None, return_dtype=pl.Int64)
    values = np.full((len(text), len(classes)), np.nan)
    made = places.is_not_null().to_numpy()
    values[made] = np.eye(len(classes))[places.drop_nulls().to_numpy()]
    return Outputs(values, tuple(classes), hard=True), targets.class_target(labels, classes), "multiclass", ()


def _times(frame: pl.DataFrame, columns: Columns, notices: list[str]) -> tuple[Ints, bool]:
    if not columns.at:
        notices.append("There is no column of times: rows are taken in the order of the file.")
        return np.arange(len(frame), dtype=np.int64), False
    times = read_times(frame[columns.at])
    notices += times.notices
    at = times.micros.fill_null(NEVER).to_numpy()
    if len(np.unique(at[:: max(1, len(at) // 100_000)])) == 1 and len(np.unique(at)) == 1:
        notices.append(f"All rows have the same {columns.at}: they are taken in the order of the file.")
        return np.arange(len(frame), dtype=np.int64), False
    return at, True


def _repeated(joined: Labels, at: Ints, notices: list[str]) -> Mask:
    """Rows that came again later, with the same id and time: the last one counts. The same id at another time is another prediction."""
    nothing = np.zeros(len(at), dtype=np.bool_)
    if joined.keys is None or joined.keys.n_unique() == len(joined.keys):
        return nothing
    each = pl.DataFrame({"key": joined.keys, "at": at})
    again = (joined.keys.is_not_null() & ~each.select(pl.struct("key", "at").is_last_distinct()).to_series()).to_numpy()
    if again.any():
        notices.append(f"{int(again.sum()):,} predictions came again with the same id and time: the last counts.")
    elsewhere = int(joined.keys.is_duplicated().sum() - joined.keys.null_count()) - 2 * int(again.sum())
    if elsewhere > 0:
        notices.append(
            "Some ids stand for several predictions at different times: each counts, with the label of its id."
        )
    return again


def _order(at: Ints, left_out: Mask, timed: bool, notices: list[str]) -> Ints:  # noqa: FBT001 - a fact of the rows
    timeless = at == NEVER
    if timeless.any():
        notices.append(f"{int(timeless.sum()):,} predictions have no time and are left out.")
    places = np.flatnonzero(~timeless & ~left_out)
    sorted_already = not timed or bool((np.diff(at[places]) >= 0).all())
    return places if sorted_already else places[np.argsort(at[places], kind="stable")]


def _text(frame: pl.DataFrame, name: str, order: Ints) -> pl.Series | None:
    return None if not name else frame[name].cast(pl.String)[order]


def _earlier(
    predictions: Table, frame: pl.DataFrame, columns: Columns, table: Table | None, order: Ints
) -> Floats | None:
    """The earlier model's scores of the same rows: a column of the predictions, or a file joined by id."""
    if table is not None:
        return _earlier_of(predictions, table, columns)[order]
    return targets.as_numbers(frame[columns.earlier])[order] if columns.earlier else None


def _earlier_of(predictions: Table, table: Table, columns: Columns) -> Floats:
    common = (
        columns.id
        or tuple(name for name in predictions.schema if name in table.schema and name.lower().endswith("id"))[:1]
    )
    left = [name for name in table.schema if name not in common and table.schema[name].is_numeric()]
    named = [name for name in left if name == columns.earlier or "score" in name.lower() or name in columns.score]
    if not common or any(name not in table.schema for name in common) or not left:
        raise InvalidInput(
            "alone.no_earlier",
            f"{table.where} does not join the predictions",
            remedy="Give the earlier model's scores with the id of the predictions and a column `score`; name the id with --id.",
        )
    score = (named or left)[0]
    found = labels_from(predictions, table, Columns(id=common, score=(), label=score), common)
    return targets.as_numbers(found.values)


def _check(rows: Rows, columns: Columns) -> None:
    if not rows.made.any():
        raise InvalidInput(
            "alone.no_scores",
            f"no row has a finite score in {', '.join(columns.score)}",
            remedy="Name the score with --score.",
        )
    if not rows.known.any():
        raise InvalidInput(
            "alone.no_labels",
            f"no prediction has a label in {columns.label}",
            remedy="Name the label with --label, what joins with --id.",
        )


def check_classes(rows: Rows) -> None:
    """Raise `InvalidInput` where all labels are one and the same class."""
    if rows.kind in {"binary", "multiclass"} and len(np.unique(rows.label[rows.known])) == 1:
        raise InvalidInput(
            "alone.one_class",
            "all labels are the same: there is nothing that a score could tell apart",
            remedy="Give files with outcomes of both kinds; where absence of a label means no, say --absent negative and --matures.",
        )


def _told(rows: Rows) -> list[str]:
    """What a reader should know of these rows."""
    told, missing = [], int((~rows.made).sum())
    if missing:
        told.append(f"{missing:,} predictions have no finite score: they count as predictions, but cannot be judged.")
    if rows.hard:
        told.append("The scores are chosen classes, not probabilities: the share of wrong ones is watched.")
    return told


def out_of_range(rows: Rows) -> bool:
    """Whether scores for labels of two kinds are no probabilities: margins, logits, or points of a scale."""
    scores = rows.outputs[rows.made]
    return rows.kind == "binary" and bool((scores < 0).any() or (scores > 1).any())


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
