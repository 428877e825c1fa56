"""The one model that everybody serves, and the rows that everybody is asked."""

from pathlib import Path

import joblib
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import polars as pl
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

FIELDS = tuple(f"f{place}" for place in range(10))
TREES, LEAVES = 100, 31
SEED = 20260101

_TRAINED, _ASKED = 20_000, 100


def make_model(folder: Path) -> None:
    """`model.onnx` and `model.joblib`, 100 trees of 31 leaves for two classes; `rows.parquet`, as were trained on; `asked.npy`, float32
    (100, 10); `expected.npy`, what the model in process says to them.
    """
    rng = np.random.default_rng(SEED)
    rows = rng.normal(size=(_TRAINED, len(FIELDS))).astype(np.float32)
    logit = rows[:, 0] + rows[:, 1] * rows[:, 2] - 0.5 * rows[:, 3] ** 2
    happened = rng.random(_TRAINED) < 1 / (1 + np.exp(-logit))
    model = HistGradientBoostingClassifier(
        max_iter=TREES, max_leaf_nodes=LEAVES, early_stopping=False, random_state=SEED
    )
    with threadpool_limits(1):  # on a busy machine OpenMP's threads wait for each other
        model.fit(rows, happened)
    proto = to_onnx(
        model,
        initial_types=[("input", FloatTensorType([None, len(FIELDS)]))],
        options={id(model): {"zipmap": False}},
        target_opset=17,
    )
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    joblib.dump(model, folder / "model.joblib")
    pl.DataFrame(rows[:2000], schema=list(FIELDS)).cast(pl.Float64).write_parquet(folder / "rows.parquet")
    np.save(folder / "asked.npy", rows[:_ASKED])
    np.save(folder / "expected.npy", _scores(proto.SerializeToString(), rows[:_ASKED]))


def asked(folder: Path, rows: int) -> npt.NDArray[np.float32]:
    """The first `rows` of those that are asked, float32 (rows, 10)."""
    found: npt.NDArray[np.float32] = np.load(folder / "asked.npy")[:rows]
    return found


def _scores(model: bytes, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    scores: npt.NDArray[np.float32] = session.run(["probabilities"], {"input": rows})[0][:, 1]
    return scores
