"""Saves the model as MLflow has it, in its ONNX flavour and in that of scikit-learn."""

import shutil
import sys

import joblib
import mlflow.onnx
import mlflow.sklearn
import onnx

FOLDER = sys.argv[1]

for flavour in ("onnx", "sklearn"):
    shutil.rmtree(f"{FOLDER}/saved-{flavour}", ignore_errors=True)
mlflow.onnx.save_model(
    onnx.load(f"{FOLDER}/model.onnx"),
    f"{FOLDER}/saved-onnx",
    onnx_execution_providers=["CPUExecutionProvider"],
    onnx_session_options={"intra_op_num_threads": 1, "inter_op_num_threads": 1},
)
# Its default, skops, refuses this estimator.
mlflow.sklearn.save_model(
    joblib.load(f"{FOLDER}/model.joblib"),
    f"{FOLDER}/saved-sklearn",
    serialization_format="cloudpickle",
    pyfunc_predict_fn="predict_proba",
)
