"""The model behind LitServe: one worker, access log off."""

import sys
from typing import Any

import inside
import litserve
import numpy as np
from fastapi import Request

PORT = int(sys.argv[2])


class Scorer(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's
        self.score = inside.load()

    # LitServe reads the annotation: with any other it takes the body for a parameter of the URL.
    def decode_request(self, request: Request) -> Any:
        return np.array(request["rows"], dtype=np.float32)

    def predict(self, matrix: Any) -> Any:
        return self.score(matrix)

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
