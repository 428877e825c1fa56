"""The model behind BentoML: one worker, ONNX Runtime inside, access log off."""

import os

import bentoml
import numpy as np
import onnxruntime as ort


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Scorer:
    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(
            os.environ["BENCH_FOLDER"] + "/model.onnx", options, providers=["CPUExecutionProvider"]
        )

    # A coroutine: BentoML hands others to a pool of threads, which costs more than the model.
    @bentoml.api
    async def predict(self, rows: list[list[float]]) -> list[float]:
        matrix = np.array(rows, dtype=np.float32)
        return self.session.run(["probabilities"], {"input": matrix})[0][:, 1].tolist()
