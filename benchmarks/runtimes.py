"""One row, a hundred and ten thousand through each runtime: the library's Python, our native runtime, and the compiled model, by ONNX Runtime alone
and as it serves, where our own library walks the trees.

Run: python benchmarks/runtimes.py
Microseconds a row, medians of single calls for rows that differ from call to call, on one thread; and how many times faster the compiled model is, as it serves, than
the library and than ONNX Runtime alone.
"""

import time
import warnings
from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
import onnxruntime as ort
import xgboost
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from threadpoolctl import threadpool_limits

from loopline.evaluation.kind import Output
from loopline.models.boosters.booster import lightgbm_text, xgboost_bytes
from loopline.models.conversion import to_onnx
from loopline.models.runtimes import skops
from loopline.models.runtimes.opening import open_model
from loopline.models.runtimes.runtime import Format

FIELDS, TREES, CALLS, ROUNDS = 20, 100, 1000, 20
COUNTS = (1, 100, 10_000)
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
    print(
        f"{'':22}{'rows':>7}"
        + "".join(f"{name:>10}" for name in ("library", "native", "ONNX", "serves", "/library", "/ONNX"))
    )
    for name, (estimator, label, output, form) in kinds.items():
        estimator.fit(rows, label)
        content = to_onnx(estimator, FIELDS)
        native = open_model(form, written(form, estimator), output)
        compiled = open_model("onnx", content, output)
        for count in COUNTS:
            some = [many(random, count) for _ in range(ROUNDS)]
            calls = (asked(estimator, form), native.outputs, alone(content), compiled.outputs)
            took = [median(call, some) / count for call in calls]
            ratios = f"{took[0] / took[3]:>10.1f}{took[2] / took[3]:>10.1f}"
            print(f"{name:22}{count:>7}" + "".join(f"{one:>10.2f}" for one in took) + ratios)


def many(random: np.random.Generator, count: int) -> np.ndarray:
    return random.normal(size=(count, FIELDS)).astype(np.float32)


def alone(content: bytes) -> Callable[[np.ndarray], Any]:
    """The compiled model by ONNX Runtime's quickest way in, without ours."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    wanted, given = [session.get_outputs()[-1].name], session.get_inputs()[0].name
    return lambda some: session._sess.run(wanted, {given: some}, None)  # noqa: SLF001 - as OnnxModel asks it


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


def median(call: Callable[[np.ndarray], Any], rounds: list[np.ndarray]) -> float:
    call(rounds[0])
    taken, until = [], time.perf_counter() + 2
    while len(taken) < CALLS and time.perf_counter() < until:
        rows = rounds[len(taken) % len(rounds)]  # the same rows again would teach the processor every branch
        begin = time.perf_counter()
        call(rows)
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken)) * 1e6


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with threadpool_limits(limits=1):
        main()
