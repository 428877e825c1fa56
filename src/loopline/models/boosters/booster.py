"""A fitted booster, bare or in its scikit-learn wrapper: its bytes, and its trees."""

from typing import Any

from loopline.models.boosters.lightgbm import read_lightgbm
from loopline.models.boosters.xgboost import read_xgboost
from loopline.models.tree_sum import TreeSum


def lightgbm_text(estimator: Any) -> bytes:
    """The model in LightGBM's text format, up to its best iteration."""
    text: str = getattr(estimator, "booster_", estimator).model_to_string()
    return text.encode()


def xgboost_bytes(estimator: Any, form: str = "ubj") -> bytes:
    """The model in XGBoost's `form`, `ubj` or `json`."""
    booster = estimator.get_booster() if hasattr(estimator, "get_booster") else estimator
    return bytes(booster.save_raw(form))


def tree_sum_of(estimator: Any) -> TreeSum | None:
    """The trees of a booster; None for what is none. Raises `InvalidInput` "model.not_trees" for what trees cannot say."""
    library = type(estimator).__module__.partition(".")[0]
    if library == "lightgbm":
        return read_lightgbm(lightgbm_text(estimator))
    return read_xgboost(xgboost_bytes(estimator, "json")) if library == "xgboost" else None
