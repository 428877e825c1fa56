"""NVIDIA's clients for Triton, unchanged. Over HTTP they send and ask for binary tensors unless told not to."""

import numpy as np
import pytest

COMMON = """
import json, os
import numpy as np
import tritonclient.{kind} as client
from tritonclient.utils import InferenceServerException

bearer = {{"{header}": "Bearer " + os.environ["TOKEN"]}}
acting = {{"{header}": "Bearer " + os.environ["OPERATOR"]}}
rows, iris = json.loads(os.environ["ROWS"]), np.array(json.loads(os.environ["IRIS"]), dtype=np.float32)
triton = client.InferenceServerClient(os.environ["{port}"])

def tensor(name, values, datatype):
    made = client.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made

def column(name, datatype, dtype):
    return tensor(name, np.array([row[name] for row in rows], dtype=dtype), datatype)

columns = [
    column("flight_id", "BYTES", object), column("departs", "BYTES", object), column("carrier", "BYTES", object),
    column("distance", "FP64", np.float64), column("hour", "INT64", np.int64),
]

def code(work):
    try:
        work()
    except InferenceServerException as error:
        return [error.status(), error.message()]
"""

INFER = """
late = triton.infer("late", columns, model_version="1", request_id="r7", headers=bearer)
wide = triton.infer("iris", [tensor("X", iris, "FP32")], headers=bearer,
    outputs=[client.InferRequestedOutput("outputs"), client.InferRequestedOutput("decision")])
response = late.get_response()
print(json.dumps({
    "scores": late.as_numpy("score").tolist(),
    "decisions": [text.decode() for text in late.as_numpy("decision").tolist()],
    "id": response["id"] if isinstance(response, dict) else response.id,
    "outputs": wide.as_numpy("outputs").tolist(),
    "species": [text.decode() for text in wide.as_numpy("decision").tolist()],
    "not_asked_for": wide.as_numpy("score") is None,
    "unknown": code(lambda: triton.infer("nobody", columns, headers=bearer)),
    "version": code(lambda: triton.infer("late", columns, model_version="9", headers=bearer)),
    "width": code(lambda: triton.infer("iris", [tensor("X", iris[:, :3].copy(), "FP32")], headers=bearer)),
    "no_token": code(lambda: triton.infer("late", columns)),
}))
"""

STATE = """
def ready(name):
    return triton.is_model_ready(name, headers=bearer)

def states():
    found = triton.get_model_repository_index(headers=bearer)
    found = found if isinstance(found, list) else [
        {"name": one.name, "version": one.version, "state": one.state, "reason": one.reason} for one in found.models]
    return [[one["name"], one["version"], one["state"], one.get("reason", "")] for one in found]

said = {"live": triton.is_server_live(), "ready": triton.is_server_ready(), "before": [ready("iris"), states()]}
said["not_permitted"] = code(lambda: triton.unload_model("iris", headers=bearer))
triton.unload_model("iris", headers=acting)
said["unloaded"] = [ready("iris"), states(), triton.is_server_ready()]
said["refused"] = code(lambda: triton.infer("iris", [tensor("X", iris, "FP32")], headers=bearer))
said["override"] = code(lambda: triton.load_model("iris", headers=acting, config="{}"))
triton.load_model("iris", headers=acting)
said["loaded"] = [ready("iris"), states()]
metadata = triton.get_model_metadata("iris", headers=bearer)
server = triton.get_server_metadata(headers=bearer)
if not isinstance(metadata, dict):
    from google.protobuf.json_format import MessageToDict
    metadata, server = MessageToDict(metadata), MessageToDict(server)
said["metadata"] = [metadata["name"], metadata["versions"],
    {one["name"]: [one["datatype"], [int(size) for size in one["shape"]]] for one in metadata["outputs"]}]
said["server"] = [server["name"], server["extensions"]]
print(json.dumps(said))
"""

KINDS = [("http", "Authorization", "HTTP"), ("grpc", "authorization", "GRPC")]


@pytest.mark.parametrize(("kind", "header", "port"), KINDS)
def test_predictions_are_the_models(served, kind, header, port):
    said = served.run("triton", COMMON.format(kind=kind, header=header, port=port) + INFER)
    np.testing.assert_allclose(said["scores"], served.scores, atol=1e-6, rtol=0)
    np.testing.assert_allclose(said["outputs"], served.probabilities, atol=1e-6, rtol=0)
    likeliest = served.probabilities.argmax(axis=1)
    assert said["species"] == [("setosa", "versicolor", "virginica")[place] for place in likeliest]
    assert said["not_asked_for"]
    assert said["id"] == "r7"
    grpc = kind == "grpc"
    assert said["unknown"][0] == ("StatusCode.NOT_FOUND" if grpc else "404")
    assert said["version"][0] == ("StatusCode.NOT_FOUND" if grpc else "404")
    assert said["width"][0] == ("StatusCode.INVALID_ARGUMENT" if grpc else "400")
    assert "has 3 columns, the model takes 4 numbers" in said["width"][1]
    assert said["no_token"][0] == ("StatusCode.UNAUTHENTICATED" if grpc else "401")


@pytest.mark.parametrize(("kind", "header", "port"), KINDS)
def test_health_metadata_and_the_repository(served, kind, header, port):
    said = served.run("triton", COMMON.format(kind=kind, header=header, port=port) + STATE)
    there = [["iris", "3", "READY", ""], ["late", "1", "READY", ""]]
    gone = [["iris", "3", "UNAVAILABLE", "unloaded"], ["late", "1", "READY", ""]]
    grpc = kind == "grpc"
    assert (said["live"], said["ready"]) == (True, True)
    assert said["before"] == said["loaded"] == [True, there]
    assert said["unloaded"] == [False, gone, True]
    assert said["not_permitted"][0] == ("StatusCode.PERMISSION_DENIED" if grpc else "403")
    assert said["refused"][0] == ("StatusCode.UNAVAILABLE" if grpc else "503")
    assert said["override"][0] == ("StatusCode.INVALID_ARGUMENT" if grpc else "400")
    assert said["metadata"][:2] == ["iris", ["3"]]
    assert said["metadata"][2]["outputs"] == ["FP64", [-1, 3]]
    assert said["metadata"][2]["score"] == ["FP64", [-1]]
    assert said["server"] == ["loopline", ["binary_tensor_data", "model_repository", "parameters"]]
