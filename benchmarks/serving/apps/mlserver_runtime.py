"""The model behind MLServer: a runtime of one's own, since it ships none for ONNX."""

import inside
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Scorer(MLModel):
    async def load(self) -> bool:
        self._score = inside.load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        scores = self._score(NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32))
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("scores", scores)])
