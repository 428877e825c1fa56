"""How people name columns: words for each role, and what a name with a class or a level in it says."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence

import polars as pl

Schema = Mapping[str, pl.DataType]
Fits = Callable[[pl.DataType], bool]

ID = ("prediction_id", "id", "request_id", "event_id", "row_id", "uuid", "key", "record_id", "inference_id")
AT = (
    "predicted_at", "prediction_time", "prediction_timestamp", "scored_at", "at", "timestamp", "ts", "time", "event_time",
    "event_timestamp", "datetime", "date_time", "created_at", "created", "logged_at", "date", "day", "ds",
)  # fmt: skip
PROBABILITY = (
    "score", "scores", "probability", "proba", "prob", "predicted_probability", "prediction_probability", "y_score",
    "y_proba", "y_prob", "pred_proba", "prediction_score", "predict_proba", "model_score", "risk_score", "outputs",
    "output", "logit",
)  # fmt: skip
PREDICTION = ("p", "prediction", "predictions", "predicted", "pred", "y_pred", "y_hat", "yhat", "forecast", "estimate")
LABEL = (
    "label", "labels", "y_true", "y", "target", "actual", "actuals", "outcome", "truth", "ground_truth", "true_label",
    "true_value", "observed", "response", "class", "relevance", "converted", "churned", "is_fraud", "fraud", "defaulted",
)  # fmt: skip
LABEL_AT = (
    "labelled_at", "labeled_at", "label_time", "label_at", "label_timestamp", "known_at", "arrived_at", "observed_at",
    "outcome_time", "outcome_at", "feedback_time", "resolved_at", "updated_at",
)  # fmt: skip
DECISION = (
    "decision", "action", "predicted_class", "predicted_label", "predicted_decision", "verdict", "prediction", "y_pred",
    "pred",
)  # fmt: skip
VERSION = ("model_version", "version", "model_id", "model", "model_name", "release", "deployment")
EARLIER = (
    "earlier_score", "previous_score", "champion_score", "old_score", "baseline_score", "shadow_score", "score_earlier",
)  # fmt: skip

_CLASS = re.compile(
    r"^(?:y_)?(?:scores?|probability|proba|prob|predict_proba|prediction|pred|p)[_.:](?P<name>.+)$", re.IGNORECASE
)
_QUANTILE = re.compile(
    r"^(?:.*[_.])?(?:q|p|quantile|pct|percentile)[_.]?(?P<level>0?[._]\d+|\d{1,2}(?:\.\d+)?)$", re.IGNORECASE
)
_NO_CLASS = ("id", "version", "time", "at")
_SCORE_ENDS = ("_score", "_proba", "_prob", "_probability")
_TIME_ENDS = ("_at", "_time", "_timestamp", "_date", "_ts")


def plain(name: str) -> str:
    """The name in lower case with single underscores: `predictedAt`, `Predicted At` and `predicted_at` are one."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()).strip("_")


def first_named(schema: Schema, words: Sequence[str], fits: Fits, taken: Collection[str | None] = ()) -> str:
    """The column whose name stands first among `words` and whose type fits; empty if there is none."""
    by_word = {plain(name): name for name in reversed(list(schema)) if name not in taken}
    found = (by_word[word] for word in words if word in by_word)
    return next((name for name in found if fits(schema[name])), "")


def level_of(name: str) -> float | None:
    """The level in a name such as `q10`, `p90`, `score_q0.5`; None where there is none in (0, 1)."""
    match = _QUANTILE.match(name)
    if match is None:
        return None
    text = match["level"].replace("_", ".")
    level = float(text) if "." in text and float(text) < 1 else float(text) / 100
    return level if 0 < level < 1 else None


def quantile_levels(names: Sequence[str]) -> tuple[float, ...]:
    """The levels that several columns name, each its own; empty unless all of them do."""
    levels = [level for name in names if (level := level_of(name)) is not None]
    alone = len(names) > 1 and len(levels) == len(names) == len(set(levels))
    return tuple(levels) if alone else ()


def class_of(name: str) -> str:
    """The class in a name such as `score_cat`, `proba_dog`; empty if there is none."""
    match = _CLASS.match(name)
    return "" if match is None or plain(match["name"]) in _NO_CLASS else match["name"]


def class_names(names: Sequence[str]) -> tuple[str, ...]:
    """The classes that columns name; else the names themselves."""
    return tuple(class_of(name) or name for name in names)


def ends_as_score(name: str) -> bool:
    """Such as `churn_score`."""
    return plain(name).endswith(_SCORE_ENDS)


def ends_as_time(name: str) -> bool:
    """Such as `request_time`."""
    return plain(name).endswith(_TIME_ENDS)


def is_any(_dtype: pl.DataType) -> bool:
    """Any type."""
    return True


def is_number(dtype: pl.DataType) -> bool:
    """Whole or not."""
    return dtype.is_numeric()


def is_moment(dtype: pl.DataType) -> bool:
    """What may hold times: times, dates, texts, numbers since 1970."""
    return dtype.is_temporal() or dtype == pl.String or dtype.is_numeric()


def is_name(dtype: pl.DataType) -> bool:
    """What may name a thing: whole numbers and texts."""
    return dtype.is_integer() or dtype in (pl.String, pl.Categorical) or isinstance(dtype, pl.Enum)


def is_choice(dtype: pl.DataType) -> bool:
    """What may be a decision."""
    return is_name(dtype) or dtype == pl.Boolean


def is_score(dtype: pl.DataType) -> bool:
    """What may be an output: numbers, lists of them, chosen classes."""
    return dtype.is_numeric() or dtype in (pl.String, pl.Boolean) or isinstance(dtype, (pl.List, pl.Array))


def is_feature(dtype: pl.DataType) -> bool:
    """What may be a feature: numbers, texts, booleans, categories."""
    return dtype.is_numeric() or is_choice(dtype)
