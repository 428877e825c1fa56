"""The prediction record: what is kept of every prediction, of every kind of model, and how it lies in its table.

One table a model, `predictions.<project>.<model>`. A row's key is the scored row's key (a flight), its event time is the moment
the prediction is for (`at`), its known time is when it was scored. Every model fills `score` (a probability, a value, the middle
quantile, the likeliest class's probability) and those that have any `decision`; where a row has several outputs they are in
`outputs`. The rest is for forecasts (`target_time`, `horizon_s`, `label_key` where the label has another key than the row),
rankings (`group`, `position`), bandits (`action`, `propensity`), and payloads kept elsewhere by digest (texts, images).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from loopline.models.signature import Signature
from loopline.tables.schema import TableSchema

FEATURE_PREFIX = "feature_"

PREDICTIONS = "predictions."
SHADOWS = "shadows."

CHAMPION = "champion"
PREVIOUS = "previous"
FALLBACK = "fallback"
RULE = "rule"

_SEPARATOR = "\x1f"

TIME = pl.Datetime("us", "UTC")
FEATURE_TYPES: Mapping[str, Any] = {"number": pl.Float64(), "category": pl.String()}

COLUMNS: Mapping[str, Any] = {
    "prediction_id": pl.String(),
    "endpoint": pl.String(),
    "model": pl.String(),
    "model_version": pl.Int64(),
    "decision_version": pl.Int64(),
    "variant": pl.String(),
    "scored_at": TIME,
    "score": pl.Float64(),
    "outputs": pl.List(pl.Float64()),
    "decision": pl.String(),
    "degraded": pl.List(pl.String()),
    "action": pl.String(),
    "propensity": pl.Float64(),
    "target_time": TIME,
    "horizon_s": pl.Float64(),
    "group": pl.String(),
    "position": pl.Int64(),
    "label_key": pl.String(),
    "payload_digest": pl.String(),
    "trace_id": pl.String(),
    "principal": pl.String(),
    "latency_ms": pl.Float64(),
}


class Prediction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One prediction, as a row of its table has it. A request's predictions are answered and spooled together: see `block`.

    `action` is what is done: the decision, unless another was explored. `propensity` is the probability with which it was chosen.

    `key` and `at` name the scored row and the moment (UTC) it was scored for; `scored_at` is when. `model_version` 0 means
    that no model answered but the constant fallback, or a rule. `variant` is `"champion"`, `"previous"`, `"rule"`, `"fallback"`, or the name of a variant that is deployed beside the champion. `decision` is
    `"positive"`, `"negative"` or `"abstain"`, the name of a class, an amount, or empty. `degraded` holds codes of what was not as it should be, e.g.
    `feature_missing:delay_mean_3h`, `unseen_category:carrier`, `out_of_range:distance`, `model_unavailable`; empty for a
    prediction in full health. `latency_ms` is the time from the request's arrival to its record. `numbers` and `categories` are the features as used, `None` where there was no value.
    """

    prediction_id: str
    project: str
    endpoint: str
    model: str
    model_version: int
    decision_version: int
    variant: str
    key: str
    at: datetime
    scored_at: datetime
    score: float | None
    decision: str
    degraded: tuple[str, ...] = ()
    principal: str | None = None
    outputs: tuple[float, ...] | None = None
    action: str | None = None
    propensity: float | None = None
    target_time: datetime | None = None
    horizon_s: float | None = None
    group: str | None = None
    position: int | None = None
    label_key: str | None = None
    payload_digest: str | None = None
    trace_id: str | None = None
    latency_ms: float | None = None
    numbers: dict[str, float | None] = {}
    categories: dict[str, str | None] = {}


def prediction_table(project: str, model: str, *, shadow: bool = False) -> str:
    """The name of the table that holds a model's predictions; what serves at `late@staging` has `...late-staging`.

    What a `shadow` scored, which nobody was answered, lies in a table of its own: so nothing finds a key twice. Its rows have the
    prediction ids of the answers beside which they were scored.
    """
    return f"{SHADOWS if shadow else PREDICTIONS}{project}.{model.replace('@', '-')}"


def prediction_columns(features: Mapping[str, str]) -> dict[str, Any]:
    """The payload columns, name to Polars dtype, for `features` (name to kind, `"number"` or `"category"`) in order."""
    return {**COLUMNS, **{FEATURE_PREFIX + name: FEATURE_TYPES[kind] for name, kind in features.items()}}


def prediction_schema(signature: Signature) -> TableSchema:
    """The schema of the table that holds the predictions of a model with `signature`."""
    return TableSchema(prediction_columns({field.name: field.kind for field in signature.fields}))


def code_lists(codes: Sequence[Sequence[str]]) -> pl.Series:
    """The codes of each row as a column of lists."""
    # Polars makes a series of each Python list in turn: for a thousand rows, thirty times the work of splitting text.
    joined = pl.Series("degraded", [_SEPARATOR.join(row) for row in codes], dtype=pl.String)
    split = pl.when(pl.col("degraded") == "").then(pl.lit([], pl.List(pl.String)))
    return joined.to_frame().select(split.otherwise(pl.col("degraded").str.split(_SEPARATOR)).alias("degraded"))[
        "degraded"
    ]
