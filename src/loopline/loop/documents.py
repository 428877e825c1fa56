"""What is written down about a candidate beside its package: the rows its explanations compare with, and which fields matter."""

import numpy as np
import polars as pl

from loopline.clock import ReplayClock
from loopline.loop.lane import Lane
from loopline.loop.personal_fields import personal_fields
from loopline.loop.resources import Resources
from loopline.models.background import BACKGROUND, keep_background
from loopline.models.explainer import load_explainer
from loopline.models.explanation import SUMMARY
from loopline.models.predictor import Predictor
from loopline.training.explanation import summarise_fit
from loopline.training.fit import Fitted
from loopline.values import derive_seed

LEAST_HELD_OUT = 50


def write_documents(
    resources: Resources, lane: Lane, fitted: Fitted, predictor: Predictor, held_out: pl.DataFrame
) -> dict[str, str]:
    """Digests of the artifacts, by the names under which lineage and run have them.

    The background is kept unless the model is declared with `explain=False`. The summary takes seconds, so a replay, which
    trains again and again, makes it only where the model is declared with `explain=True`.
    """
    wanted = lane.operation.model.explain
    if wanted is False:
        return {}
    matrix, seed = fitted.training_set.X, fitted.training_set.seed
    package = predictor.package.digest
    digest = keep_background(
        resources.artifacts, resources.key, package=package, matrix=matrix, seed=derive_seed(seed, BACKGROUND)
    )
    if wanted is None and isinstance(resources.clock, ReplayClock):
        return {BACKGROUND: digest}
    explainer = load_explainer(resources.artifacts, predictor, background=digest, keys=resources.key.public)
    unseen = held_out.height >= LEAST_HELD_OUT
    rows = predictor.signature.encode(held_out) if unseen else matrix
    summary = summarise_fit(
        fitted.estimator,
        explainer,
        np.ascontiguousarray(rows),
        of_rows="held out" if unseen else "trained on",
        seed=derive_seed(seed, SUMMARY),
    )
    told = summary.without_values(personal_fields(resources, lane.project, lane.model))
    return {BACKGROUND: digest, SUMMARY: resources.artifacts.put(told.encoded())}
