"""A bias report of predictions in files, whoever made them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from loopline.errors import InvalidInput, NotFound
from loopline.evaluation.bias import BiasReport, bias_report
from loopline.evaluation.group_measures import measures

Floats = npt.NDArray[np.float64]

KEYS = ("prediction_id", "id", "key", "_key")
SCORES = ("score", "probability", "prediction", "proba", "p", "predicted")
LABELS = ("label", "y", "target", "outcome", "y_true")
TIMES = ("at", "time", "timestamp", "scored_at", "date", "_event_time")
_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".csv": pl.read_csv,
    ".jsonl": pl.read_ndjson,
    ".ndjson": pl.read_ndjson,
}
_POSITIVE, _NEGATIVE = {"positive", "1", "1.0", "true", "yes"}, {"negative", "0", "0.0", "false", "no"}


@dataclass(frozen=True)
class FilesSaid:
    """What the user said of the files; empty texts are looked for among the usual names."""

    by: tuple[str, ...]
    kind: str = "binary"
    key: str = ""
    score: str = ""
    label: str = ""
    at: str = ""
    decision: str = ""
    threshold: float = 0.5
    min_rows: int = 50


def bias_of_files(predictions: Path, labels: Path | None, said: FilesSaid) -> BiasReport:
    """Compare groups of the predictions in a Parquet, CSV or JSON-lines file; labels may stand in another, joined by key.

    Rows without a score or a label are left out. Rows of a UTC day go together where there is a time, else each row stands for
    itself. Raises `NotFound` for a missing file, `InvalidInput` for one that cannot be read, a missing column, a key that is
    there twice, and scores or labels that do not go with the kind.
    """
    if not said.by:
        raise InvalidInput("bias.no_groups", "no column of groups was named", remedy="Say --by COLUMN.")
    rows = _joined(_read(predictions), None if labels is None else _read(labels), said)
    score, label = _column(rows, said.score, SCORES, "score"), _column(rows, said.label, LABELS, "label")
    outputs, y = _numbers(rows[score]), _numbers(rows[label])
    known = ~np.isnan(outputs) & ~np.isnan(y)
    _check_values(outputs[known], y[known], said.kind)
    rows = rows.filter(pl.Series(known))
    outputs, y = outputs[known], y[known]
    found = measures(said.kind, outputs, y, _chosen(rows, outputs, said), np.full(len(y), np.nan))
    return bias_report(
        found,
        {name: rows[_column(rows, name, (), "group")].cast(pl.String).to_list() for name in said.by},
        _blocks(rows, said),
        kind=said.kind,
        of_rows="in files, with a score and a label",
        min_rows=said.min_rows,
    )


def _read(path: Path) -> pl.DataFrame:
    if not path.exists():
        raise NotFound("bias.no_file", f"there is no file {path}", remedy="Check the path.")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidInput(
            "bias.unknown_format", f"{path.name} is of no known format", remedy=f"Give {', '.join(_READERS)}."
        )
    try:
        return reader(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidInput(
            "bias.unreadable", f"{path} cannot be read: {str(error)[:200]}", remedy="Check that it is whole."
        ) from error


def _joined(predictions: pl.DataFrame, labels: pl.DataFrame | None, said: FilesSaid) -> pl.DataFrame:
    if labels is None:
        return predictions
    common = [name for name in predictions.columns if name in labels.columns]
    key = said.key or next((name for name in KEYS if name in common), "") or (common[0] if len(common) == 1 else "")
    if key not in common:
        raise InvalidInput(
            "bias.no_key",
            f"predictions and labels have no column {key!r} in common"
            if key
            else "it is not clear what joins the files",
            remedy=f"Say --key COLUMN; both have: {', '.join(common) or 'none'}.",
        )
    for frame, name in ((predictions, "predictions"), (labels, "labels")):
        if frame[key].is_duplicated().any():
            raise InvalidInput(
                "bias.key_twice",
                f"a {key!r} stands twice in the {name}",
                remedy="Give each key once, the last label only.",
            )
    rest = labels.select(key, *(name for name in labels.columns if name not in predictions.columns))
    try:
        return predictions.join(rest, on=key, how="left", maintain_order="left")
    except pl.exceptions.PolarsError as error:
        raise InvalidInput(
            "bias.key_types", f"{key!r} is of different types in both files: {str(error)[:100]}", remedy="Cast one."
        ) from error


def _column(rows: pl.DataFrame, said: str, usual: Sequence[str], what: str) -> str:
    name = said or next((one for one in usual if one in rows.columns), "")
    if name not in rows.columns:
        raise InvalidInput(
            "bias.no_column",
            f"there is no column {said!r}" if said else f"no column looks like the {what}",
            remedy=f"Say --{what} COLUMN; there are: {', '.join(rows.columns)}."
            if usual
            else f"There are: {', '.join(rows.columns)}.",
        )
    return name


def _numbers(column: pl.Series) -> Floats:
    try:
        return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    except pl.exceptions.PolarsError as error:
        raise InvalidInput(
            "bias.not_numbers",
            f"column {column.name!r} does not hold numbers",
            remedy="Give numbers, labels as 0 and 1.",
        ) from error


def _check_values(outputs: Floats, y: Floats, kind: str) -> None:
    if kind == "binary" and (not np.isin(y, (0, 1)).all() or not ((outputs >= 0) & (outputs <= 1)).all()):
        raise InvalidInput(
            "bias.values",
            "scores must be probabilities, and labels 0 or 1",
            remedy="Give such columns, or say --kind regression for numbers.",
        )


def _chosen(rows: pl.DataFrame, outputs: Floats, said: FilesSaid) -> Floats:
    name = said.decision or ("decision" if "decision" in rows.columns else "")
    if not name:
        return (outputs >= said.threshold).astype(np.float64)
    told = rows[_column(rows, name, (), "decision")].cast(pl.String).str.to_lowercase()
    return np.where(told.is_in(_POSITIVE), 1.0, np.where(told.is_in(_NEGATIVE), 0.0, np.nan))


def _blocks(rows: pl.DataFrame, said: FilesSaid) -> npt.NDArray[np.generic]:
    name = said.at or next((one for one in TIMES if one in rows.columns), "")
    if not name:
        return np.arange(rows.height)
    column = rows[_column(rows, name, (), "at")]
    if column.dtype == pl.String:
        column = column.str.to_datetime(strict=False, time_zone="UTC")
    if not column.dtype.is_temporal() or column.null_count():
        raise InvalidInput(
            "bias.bad_time", f"column {name!r} does not hold a time in every row", remedy="Name another with --at."
        )
    return column.cast(pl.Datetime("us")).dt.truncate("1d").to_physical().to_numpy()
