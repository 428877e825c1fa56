"""Explain: which fields matter to a version, and what each added to one logged prediction."""

from typing import Any

import msgspec
import polars as pl

from loopline.errors import InvalidInput, NotFound
from loopline.loop.deployment import Predictors
from loopline.loop.logged import logged_prediction
from loopline.loop.personal_fields import personal_fields
from loopline.loop.resources import Resources
from loopline.models import registry
from loopline.models.background import BACKGROUND
from loopline.models.explainer import Explainer, load_explainer
from loopline.models.explanation import SUMMARY, Explanation, ExplanationSummary, decode_summary
from loopline.models.registry import ModelVersion
from loopline.scoring.feature_columns import one_of_each


class ExplainedPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """A logged prediction, taken apart: by the version that gave it, from the values it was made of. Personal values stand
    as pseudonyms.
    """

    prediction_id: str
    project: str
    model: str
    version: int
    score: float
    decision: str
    values: dict[str, Any]
    explanation: Explanation


class ExplainedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What the fields of a version do."""

    project: str
    model: str
    version: int
    summary: ExplanationSummary


def explain_version(resources: Resources, project: str, model: str, version: int) -> ExplainedVersion:
    """The summary that was made as the version was trained; or, where none was, one made now from the packaged model.

    Raises `NotFound` for an unknown version, and `Unavailable` "explain.no_background" where neither can be had.
    """
    with resources.database.reading() as tx:
        found = registry.get_version(tx, project, model, version)
    digest = found.lineage.get(SUMMARY, "")
    kept = bool(digest) and resources.artifacts.exists(digest)
    if kept:
        summary = decode_summary(resources.artifacts.get(digest))
    else:
        summary = _explainer(resources, found).summary().without_values(personal_fields(resources, project, model))
    return ExplainedVersion(project=project, model=model, version=version, summary=summary)


def explain_prediction(resources: Resources, prediction_id: str) -> ExplainedPrediction:
    """What each field added to a logged prediction.

    Raises `NotFound` "explain.unknown_prediction", `InvalidInput` "explain.no_model" where the constant answered, and
    `Unavailable` "explain.no_background".
    """
    logged = logged_prediction(resources, prediction_id)
    if logged is None:
        raise NotFound(
            "explain.unknown_prediction",
            f"there is no prediction {prediction_id!r} in the tables",
            remedy="It may not be shipped to its table yet; ask again in a moment.",
        )
    project, model, row = logged.project, logged.model, logged.row.row(0, named=True)
    if not row["model_version"]:
        raise InvalidInput(
            "explain.no_model",
            f"{prediction_id} was answered by the declared fallback: there is nothing in it to explain",
            remedy="`loopline why` tells why no model answered.",
        )
    with resources.database.reading() as tx:
        found = registry.get_version(tx, project, model, row["model_version"])
    explainer = _explainer(resources, found)
    logged_as = one_of_each(row)
    frame = pl.DataFrame({name: [logged_as.get(name)] for name in explainer.signature.names})
    [explanation] = explainer.explain(explainer.signature.encode(frame))
    shown = one_of_each(logged.shown(resources))
    return ExplainedPrediction(
        prediction_id=prediction_id,
        project=project,
        model=model,
        version=found.version,
        score=row["score"],
        decision=row["decision"],
        values={name: shown.get(name) for name in explainer.signature.names},
        explanation=explanation,
    )


def _explainer(resources: Resources, version: ModelVersion) -> Explainer:
    predictor = Predictors(resources).load(version.package, version.envelope)
    return load_explainer(
        resources.artifacts,
        predictor,
        background=version.lineage.get(BACKGROUND, ""),
        keys=resources.key.public,
    )
