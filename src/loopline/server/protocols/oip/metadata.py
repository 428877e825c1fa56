"""What the protocol tells of the server and of its models."""

from importlib.metadata import version
from typing import Any

from loopline.evaluation.kind import Output
from loopline.scoring.contract import Contract
from loopline.server.protocols.oip.outputs import OUTPUTS, WIDE, output_names

SERVER = "loopline"
VERSION = version("loopline")
EXTENSIONS = ("binary_tensor_data", "model_repository", "parameters")
PLATFORM = "loopline"


def server_metadata() -> dict[str, Any]:
    """Name, version and the extensions that are spoken."""
    return {"name": SERVER, "version": VERSION, "extensions": list(EXTENSIONS)}


def model_metadata(model: str, version: int, contract: Contract, output: Output) -> dict[str, Any]:
    """A model's inputs, a tensor a column, and its outputs; -1 stands for the number of rows."""
    kinds = {field.name: "FP64" if field.kind == "number" else "BYTES" for field in contract.given}
    return {
        "name": model,
        "versions": [str(version)],
        "platform": PLATFORM,
        "inputs": [_tensor(name, kinds.get(name, "BYTES")) for name in contract.columns],
        "outputs": [_output(name, output) for name in output_names(output)],
    }


def _tensor(name: str, datatype: str) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1]}


def _output(name: str, output: Output) -> dict[str, Any]:
    if name == WIDE:
        return {"name": WIDE, "datatype": "FP64", "shape": [-1, output.width]}
    return _tensor(name, OUTPUTS[name])
