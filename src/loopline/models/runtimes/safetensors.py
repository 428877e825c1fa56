"""A neural network kept in safetensors, run by ONNX Runtime: neither torch nor pickle."""

import numpy as np
import numpy.typing as npt

from loopline.evaluation.kind import Output
from loopline.models.network import read_network
from loopline.models.runtimes.onnx import OnnxModel
from loopline.models.runtimes.runtime import Floats


class SafetensorsModel:
    """A network of plain layers. Raises `Corrupt` and `InvalidInput` as `read_network` does."""

    def __init__(self, content: bytes, output: Output) -> None:
        self.network = read_network(content)
        self._model = OnnxModel(self.network.to_onnx(), output)

    def outputs(self, matrix: npt.NDArray[np.float32]) -> Floats:
        """As `Runtime` says."""
        return self._model.outputs(matrix)
