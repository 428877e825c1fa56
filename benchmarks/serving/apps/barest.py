"""The least that could answer over HTTP: uvicorn (uvloop, httptools), msgspec and ONNX Runtime. It checks, keeps and logs nothing."""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort
import uvicorn

FIELDS = [f"f{place}" for place in range(10)]

Row = msgspec.defstruct("Row", [(name, float) for name in FIELDS], gc=False)


class Body(msgspec.Struct):
    rows: list[Row]  # type: ignore[valid-type]


OPTIONS = ort.SessionOptions()
OPTIONS.intra_op_num_threads = OPTIONS.inter_op_num_threads = 1
SESSION = ort.InferenceSession(f"{sys.argv[1]}/model.onnx", OPTIONS, providers=["CPUExecutionProvider"])
DECODER, ENCODER = msgspec.json.Decoder(Body), msgspec.json.Encoder()
ROW = msgspec.structs.astuple


async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:  # noqa: ARG001 - ASGI's
    body, more = b"", True
    while more:
        message = await receive()
        body += message["body"]
        more = message.get("more_body", False)
    matrix = np.array([ROW(row) for row in DECODER.decode(body).rows], dtype=np.float32)
    answer = ENCODER.encode({"scores": SESSION.run(["probabilities"], {"input": matrix})[0][:, 1].tolist()})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="error",
        proxy_headers=False,
    )
