"""From files to rows: read part by part, joined, and put in the order of time."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.app.study import targets
from loopline.app.study.columns import Columns
from loopline.app.study.files import Table
from loopline.app.study.in_order import in_order, order_of
from loopline.app.study.join import NEVER, Labels, keys_of, labels_from, labels_within, moved, repeated
from loopline.app.study.rows import Rows
from loopline.app.study.scores import Expected, Scores, kinds_of, scores_of
from loopline.app.study.shelf import Shelf
from loopline.app.study.targets import JudgeReader, NumberReader, Target
from loopline.app.study.texts import Coding
from loopline.app.study.times import TimeReader
from loopline.errors import InvalidInput

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_TEXTS = ("version", "decision", "group")


def read_rows(
    predictions: Table,
    labels: Table | None,
    columns: Columns,
    expected: Expected,
    earlier: Table | None,
    shelf: Shelf | None = None,
) -> Rows:
    """The rows of these files, on the shelf. Raises `InvalidInput` for what cannot be read as scores, labels or times."""
    shelf = shelf or Shelf()
    notices: list[str] = []
    joined = _labels(predictions, labels, columns, notices, shelf)
    kinds = kinds_of(joined, shelf)
    scores = scores_of(predictions, columns, expected, kinds, shelf.part)
    times = TimeReader(predictions.first_known(columns.at, shelf.part)) if columns.at else None
    codings = {name: Coding() for name in _TEXTS if getattr(columns, name)}
    found = _found(predictions, columns, scores, times, codings, earlier is None, shelf)
    target = scores.target(kinds, found["outputs"], joined.given, shelf)
    notices += [*joined.notices, *target.notices]
    at, timed = _at(found.get("at"), times, columns, notices, predictions.rows, shelf)
    order = _order(at, joined, notices, shelf, timed=timed)
    found |= {
        "at": at,
        "label": _label(joined, kinds.each(target), shelf),
        "label_at": joined.at,
        "judged": _judged(predictions, columns, scores.kind, target, shelf),
        "earlier": found.get("earlier") if earlier is None else _earlier_of(predictions, earlier, columns, shelf),
    }
    inside = in_order(found, order, shelf)
    texts: dict[str, Any] = {name: one.texts(getattr(columns, name), inside.pop(name)) for name, one in codings.items()}
    made = Rows(
        kind=scores.kind,
        timed=timed,
        order=order,
        classes=target.classes,
        levels=scores.levels,
        shelf=shelf,
        **texts,
        **inside,
    )
    made = replace(made, hard=bool(scores.chosen) or _hard(made))
    _check(made, columns)
    return replace(made, notices=(*notices, *_told(made)))


def _labels(predictions: Table, labels: Table | None, columns: Columns, notices: list[str], shelf: Shelf) -> Labels:
    if labels is None:
        return labels_within(predictions, columns, shelf)
    keys, told = keys_of(predictions, labels, columns, shelf)
    notices += told
    return labels_from(predictions, labels, columns, keys, shelf)


def _found(
    predictions: Table,
    columns: Columns,
    scores: Scores,
    times: TimeReader | None,
    codings: dict[str, Coding],
    beside: bool,  # noqa: FBT001 - a fact of the files
    shelf: Shelf,
) -> dict[str, Any]:
    """The columns of the predictions in the order of the file, by what they are in rows."""
    readers: dict[str, NumberReader] = {
        name: NumberReader(getattr(columns, name))
        for name in ("earlier", "propensity")
        if getattr(columns, name) and (beside or name != "earlier")
    }
    wanted = [*columns.score, columns.at, *(getattr(columns, name) for name in (*readers, *codings))]

    def read(frame: pl.DataFrame) -> dict[str, Array]:
        part = {"outputs": scores.read(frame)}
        if times is not None:
            part["at"] = times.read(frame[columns.at]).fill_null(NEVER).to_numpy()
        part |= {name: reader.read(frame[getattr(columns, name)]) for name, reader in readers.items()}
        return part | {name: coding.codes(frame[getattr(columns, name)]) for name, coding in codings.items()}

    names: list[str] = []

    def pieces() -> Iterator[Sequence[Array]]:
        for frame in predictions.parts([name for name in dict.fromkeys(wanted) if name], shelf.part):
            part = read(frame)
            names[:] = list(part)
            yield list(part.values())

    kept = shelf.keep(pieces())
    for check in (scores.check, *(reader.check for reader in readers.values())):
        check()
    return dict(zip(names, kept, strict=True))


def _at(
    found: Ints | None, times: TimeReader | None, columns: Columns, notices: list[str], rows: int, shelf: Shelf
) -> tuple[Ints, bool]:
    """The time of each row, and whether there is one; else its place in the file."""
    if found is not None and times is not None:
        at, told = moved(found, times, shelf)
        notices += told
        if any(bool((at[part] != at[0]).any()) for part in shelf.parts(len(at))):
            return at, True
        notices.append(f"All rows have the same {columns.at}: they are taken in the order of the file.")
    else:
        notices.append("There is no column of times: rows are taken in the order of the file.")
    [places] = shelf.keep([np.arange(part.start, part.stop, dtype=np.int64)] for part in shelf.parts(rows))
    return places, False


def _order(at: Ints, joined: Labels, notices: list[str], shelf: Shelf, *, timed: bool) -> Ints:
    """Rows in the order of time: without those that have none, and of those that came again the last."""
    again, told = (None, []) if joined.keys is None else repeated(joined.keys, at, shelf)
    notices += told
    order, timeless = order_of(at, again, NEVER, shelf, timed=timed)
    if timeless:
        notices.append(f"{timeless:,} predictions have no time and are left out.")
    return order


def _label(joined: Labels, each: Floats | None, shelf: Shelf) -> Floats:
    """The label of each row as a number, by what each different label is."""
    if each is None:
        return joined.given
    [label] = shelf.keep([each[joined.given[part]]] for part in shelf.parts(len(joined.given)))
    return label


def _judged(predictions: Table, columns: Columns, kind: str, target: Target, shelf: Shelf) -> Floats | None:
    if not columns.judge:
        return None
    reader = JudgeReader(columns.judge, kind, target.classes)
    frames = predictions.parts([columns.judge], shelf.part)
    [judged] = shelf.keep([reader.read(frame[columns.judge])] for frame in frames)
    reader.check()
    return judged


def _earlier_of(predictions: Table, table: Table, columns: Columns, shelf: Shelf) -> Floats:
    """The earlier model's scores of the same rows, from a file that is joined by id."""
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
    found = labels_from(predictions, table, Columns(id=common, score=(), label=score), common, shelf)
    return _label(found, None if found.values is None else _numbers(found.values), shelf)


def _numbers(values: pl.Series) -> Floats:
    """With NaN behind them, for rows that have none of the values."""
    return np.append(targets.as_numbers(values), np.nan)


def _hard(rows: Rows) -> bool:
    """Whether the scores for labels of two kinds are all 0 or 1."""
    if rows.kind != "binary":
        return False

    def soft(part: slice) -> Mask:
        found: Mask = rows.made_in(part) & (rows.outputs[part] != 0) & (rows.outputs[part] != 1)
        return found

    return not rows.count(soft)


def _check(rows: Rows, columns: Columns) -> None:
    if not rows.count(rows.made_in):
        raise InvalidInput(
            "alone.no_scores",
            f"no row has a finite score in {', '.join(columns.score)}",
            remedy="Name the score with --score.",
        )
    if not rows.count(rows.known_in):
        raise InvalidInput(
            "alone.no_labels",
            f"no prediction has a label in {columns.label}",
            remedy="Name the label with --label, what joins with --id.",
        )


def _told(rows: Rows) -> list[str]:
    """What a reader should know of these rows."""
    told, missing = [], len(rows) - rows.count(rows.made_in)
    if missing:
        told.append(f"{missing:,} predictions have no finite score: they count as predictions, but cannot be judged.")
    if rows.hard:
        told.append("The scores are chosen classes, not probabilities: the share of wrong ones is watched.")
    return told
