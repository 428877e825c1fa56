"""One row and a hundred rows through each runtime: the library's Python, our native runtime, and the compiled model.

Run: python benchmarks/runtimes.py
Medians of single calls in microseconds, on one thread, and how many times faster the compiled model is than the library.
"""

import time
import warnings
from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
import xgboost
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from threadpoolctl import threadpool_limits

from loopline.evaluation.kind import Output
from loopline.models.boosters.booster import lightgbm_text, xgboost_bytes
from loopline.models.conversion import to_onnx
from loopline.models.runtimes import skops
from loopline.models.runtimes.opening import open_model
from loopline.models.runtimes.runtime import Format

FIELDS, TREES, CALLS = 20, 100, 1000
THREE = Output("multiclass", ("a", "b", "c"))


def main() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(5000, FIELDS)).astype(np.float32)
    odds = rows[:, 0] + rows[:, 1] ** 2 + random.normal(size=5000)
    two, three = (odds > 1).astype(int), np.digitize(odds, [0, 1.5])
    quiet = {"n_estimators": TREES, "n_jobs": 1, "random_state": 0}
    kinds: dict[str, tuple[Any, Any, Output, Format]] = {
        "LightGBM, 2 classes": (lightgbm.LGBMClassifier(verbose=-1, **quiet), two, Output(), "lightgbm"),
        "LightGBM, 3 classes": (lightgbm.LGBMClassifier(verbose=-1, **quiet), three, THREE, "lightgbm"),
        "XGBoost, 2 classes": (xgboost.XGBClassifier(**quiet), two, Output(), "xgboost"),
        "XGBoost, 3 classes": (xgboost.XGBClassifier(**quiet), three, THREE, "xgboost"),
        "HistGradientBoosting": (HistGradientBoostingClassifier(random_state=0), two, Output(), "skops"),
        "GradientBoosting": (GradientBoostingClassifier(random_state=0), two, Output(), "skops"),
        "RandomForest": (RandomForestClassifier(**quiet), two, Output(), "skops"),
    }
    print(f"{'':22}{'rows':>6}{'library':>10}{'native':>10}{'ONNX':>10}{'library/ONNX':>14}")
    for name, (estimator, label, output, form) in kinds.items():
        estimator.fit(rows, label)
        native = open_model(form, written(form, estimator), output)
        compiled = open_model("onnx", to_onnx(estimator, FIELDS), output)
        for count in (1, 100):
            some = rows[:count]
            took = [median(call, some) for call in (asked(estimator, form), native.outputs, compiled.outputs)]
            print(f"{name:22}{count:>6}" + "".join(f"{one:>10.1f}" for one in took) + f"{took[0] / took[2]:>14.1f}")


def written(form: Format, estimator: Any) -> bytes:
    return {"lightgbm": lightgbm_text, "xgboost": xgboost_bytes, "skops": skops.dump}[form](estimator)


def asked(estimator: Any, form: Format) -> Callable[[np.ndarray], Any]:
    """What a user would call for raw speed."""
    if form == "lightgbm":
        return lambda some: estimator.booster_.predict(some, num_threads=1)
    if form == "xgboost":
        return lambda some: estimator.get_booster().inplace_predict(some)
    predict: Callable[[np.ndarray], Any] = estimator.predict_proba
    return predict


def median(call: Callable[[np.ndarray], Any], rows: np.ndarray) -> float:
    call(rows)
    taken, until = [], time.perf_counter() + 2
    while len(taken) < CALLS and time.perf_counter() < until:
        begin = time.perf_counter()
        call(rows)
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken)) * 1e6


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with threadpool_limits(limits=1):
        main()
