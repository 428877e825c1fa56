"""The model behind LitServe: one worker, ONNX Runtime inside, access log off."""

import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime as ort
from fastapi import Request

FOLDER, PORT = sys.argv[1], int(sys.argv[2])


class Scorer(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(f"{FOLDER}/model.onnx", options, providers=["CPUExecutionProvider"])

    def decode_request(self, request: Request) -> Any:
        return np.array(request["rows"], dtype=np.float32)

    def predict(self, matrix: Any) -> Any:
        return self.session.run(["probabilities"], {"input": matrix})[0][:, 1]

    def encode_response(self, scores: Any) -> Any:
        return {"scores": scores.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Scorer(), accelerator="cpu", workers_per_device=1, timeout=60)
    server.run(
        host="127.0.0.1",
        port=PORT,
        num_api_servers=1,
        generate_client_file=False,
        log_level="error",
        access_log=False,
    )
