"""The model inside a peer: scikit-learn's own, or ONNX Runtime."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

FOLDER = os.environ["BENCH_FOLDER"]


def load() -> Callable[[Any], Any]:
    """What scores a float32 matrix (n, k): probabilities of shape (n,). On one thread either way."""
    if os.environ["BENCH_INSIDE"] == "sklearn":
        return _sklearn()
    return _onnx()


def _sklearn() -> Callable[[Any], Any]:
    import joblib  # noqa: PLC0415 - only one of the two is in the process

    model = joblib.load(f"{FOLDER}/model.joblib")
    return lambda matrix: model.predict_proba(matrix)[:, 1]


def _onnx() -> Callable[[Any], Any]:
    import onnxruntime as ort  # noqa: PLC0415

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(f"{FOLDER}/model.onnx", options, providers=["CPUExecutionProvider"])
    return lambda matrix: session.run(["probabilities"], {"input": matrix.astype(np.float32, copy=False)})[0][:, 1]
