"""The model behind BentoML: one worker, access log off."""

import bentoml
import inside
import numpy as np


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Scorer:
    def __init__(self) -> None:
        self.score = inside.load()

    # A coroutine: BentoML hands others to a pool of threads, which costs more than the model.
    @bentoml.api
    async def predict(self, rows: list[list[float]]) -> list[float]:
        return self.score(np.array(rows, dtype=np.float32)).tolist()
