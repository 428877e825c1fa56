"""The limit: the model through ONNX Runtime, in the process that wants the answer. Prints a line of JSON a size."""

import json
import sys
import time

import numpy as np
import onnxruntime as ort

SECONDS = float(sys.argv[2])


def main() -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(f"{sys.argv[1]}/model.onnx", options, providers=["CPUExecutionProvider"])
    asked = np.load(f"{sys.argv[1]}/asked.npy")
    for rows in (1, 100):
        matrix = asked[:rows]
        scores = session.run(["probabilities"], {"input": matrix})[0][:, 1].tolist()
        took, began, cpu = [], time.perf_counter(), time.process_time()
        while time.perf_counter() - began < SECONDS:
            start = time.perf_counter()
            session.run(["probabilities"], {"input": matrix})
            took.append(time.perf_counter() - start)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - began
        p50, p99 = (float(found) * 1e6 for found in np.quantile(took, [0.5, 0.99]))
        said = {"rows": rows, "rps": len(took) / wall, "p50_us": p50, "p99_us": p99, "cpu_us": cpu / len(took) * 1e6}
        print(json.dumps({**said, "scores": scores}), flush=True)


if __name__ == "__main__":
    main()
