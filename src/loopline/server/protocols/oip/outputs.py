"""What a model's predictions become: output tensors."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from loopline.errors import InvalidInput
from loopline.evaluation.kind import Output
from loopline.models.explanation import Explanation
from loopline.scoring.block import Predictions
from loopline.server.protocols.oip.tensors import InferRequest, Tensor

OUTPUTS: Mapping[str, str] = {
    "score": "FP64",
    "decision": "BYTES",
    "prediction_id": "BYTES",
    "degraded": "BYTES",
    "action": "BYTES",
    "propensity": "FP64",
}
WIDE = "outputs"
EXPLANATION = "explanation"


def output_names(output: Output) -> tuple[str, ...]:
    """The outputs of a model: with several numbers a row, `outputs` has them all."""
    return (*OUTPUTS, WIDE) if output.wide else tuple(OUTPUTS)


def wanted_outputs(request: InferRequest, output: Output) -> tuple[str, ...]:
    """The names of the outputs to answer with. Raises `InvalidInput` "oip.unknown_output"."""
    there = output_names(output)
    if not request.outputs:
        return there
    unknown = next((one.name for one in request.outputs if one.name not in there), None)
    if unknown is not None:
        raise InvalidInput(
            "oip.unknown_output", f"there is no output {unknown[:100]!r}", remedy=f"There are {', '.join(there)}."
        )
    return tuple(dict.fromkeys(one.name for one in request.outputs))


def output_tensors(names: Sequence[str], predictions: Predictions, output: Output) -> tuple[Tensor, ...]:
    """Each output as a tensor of shape [n]; `degraded` is the codes of a row, joined by commas; `outputs` has the shape
    [n, width]: a probability for each class, or a value for each quantile.
    """
    return tuple(_tensor(name, predictions, output) for name in names)


def explanation_tensor(explanations: Sequence[Explanation | None]) -> Tensor:
    """The output `explanation`: for each row the JSON of its explanation, `null` where there is none."""
    data = [msgspec.json.encode(found).decode() for found in explanations]
    return Tensor(EXPLANATION, "BYTES", (len(data),), data)


def _tensor(name: str, predictions: Predictions, output: Output) -> Tensor:
    data = predictions.column(name)
    if name == WIDE:
        return Tensor(WIDE, "FP64", (len(data), output.width), np.array(data, dtype=np.float64).reshape(-1))
    if name == "degraded":
        data = [",".join(codes) for codes in data]
    return Tensor(name, OUTPUTS[name], (len(data),), data)
