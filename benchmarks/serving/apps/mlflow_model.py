"""Saves the model as MLflow has it: the ONNX flavour, one thread."""

import sys

import mlflow.onnx
import onnx

mlflow.onnx.save_model(
    onnx.load(f"{sys.argv[1]}/model.onnx"),
    f"{sys.argv[1]}/saved",
    onnx_execution_providers=["CPUExecutionProvider"],
    onnx_session_options={"intra_op_num_threads": 1, "inter_op_num_threads": 1},
)
