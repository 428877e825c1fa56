"""KServe's clients, unchanged."""

import numpy as np
import pytest

COMMON = """
import asyncio, json, os
import numpy as np
from kserve import InferInput, InferRequest
from kserve.protocol.infer_type import RequestedOutput

rows, iris = json.loads(os.environ["ROWS"]), np.array(json.loads(os.environ["IRIS"]), dtype=np.float32)

def column(name, datatype, dtype, binary):
    values = np.array([row[name] for row in rows], dtype=dtype)
    made = InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made

def columns(binary):
    return [column("flight_id", "BYTES", object, binary), column("departs", "BYTES", object, binary),
        column("carrier", "BYTES", object, binary), column("distance", "FP64", np.float64, binary),
        column("hour", "INT64", np.int64, binary)]

def matrix(binary):
    made = InferInput("input-0", list(iris.shape), "FP32")
    made.set_data_from_numpy(iris, binary_data=binary)
    return made

def read(answer, name):
    return answer.get_output_by_name(name).as_numpy().tolist()
"""

REST = """
from kserve.inference_client import InferenceRESTClient, RESTConfig

async def rest():
    url, bearer = "http://" + os.environ["HTTP"], {"Authorization": "Bearer " + os.environ["TOKEN"]}
    said = {}
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=1)) as client:
        said["health"] = [await client.is_server_live(url), await client.is_server_ready(url),
            await client.is_model_ready(url, "late", headers=bearer)]
        for binary in (True, False):
            late = InferRequest(model_name="late", infer_inputs=columns(binary))
            said[f"scores {binary}"] = read(await client.infer(url, late, model_name="late", headers=dict(bearer)), "score")
            wide = InferRequest(model_name="iris", infer_inputs=[matrix(binary)], request_id="r8",
                request_outputs=[RequestedOutput("outputs", parameters={"binary_data": binary})])
            answer = await client.infer(url, wide, model_name="iris", headers=dict(bearer))
            said[f"outputs {binary}"] = [answer.id, [one.name for one in answer.outputs], read(answer, "outputs")]
        try:
            await client.infer(url, wide, model_name="iris")
        except Exception as error:
            said["no token"] = str(error)
    return said
"""

GRPC = """
from kserve.inference_client import InferenceGRPCClient

async def grpc_():
    bearer, said = (("authorization", "Bearer " + os.environ["TOKEN"]),), {}
    async with InferenceGRPCClient(os.environ["GRPC"], retries=2) as client:
        said["health"] = [await client.is_server_live(), await client.is_server_ready(),
            await client.is_model_ready("late", headers=bearer)]
        for binary in (True, False):
            late = InferRequest(model_name="late", infer_inputs=columns(binary))
            said[f"scores {binary}"] = read(await client.infer(late, headers=bearer), "score")
            wide = InferRequest(model_name="iris", infer_inputs=[matrix(binary)], request_id="r8",
                request_outputs=[RequestedOutput("outputs")])
            answer = await client.infer(wide, headers=bearer)
            said[f"outputs {binary}"] = [answer.id, [one.name for one in answer.outputs], read(answer, "outputs")]
        try:
            await client.infer(wide)
        except Exception as error:
            said["no token"] = str(error)
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb, grpc_predict_v2_pb2_grpc as stubs
    import grpc
    acting = (("authorization", "Bearer " + os.environ["OPERATOR"]),)
    with grpc.insecure_channel(os.environ["GRPC"]) as channel:
        stub = stubs.GRPCInferenceServiceStub(channel)
        unloaded = stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="iris"), metadata=acting)
        loaded = stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="iris"), metadata=acting)
        said["repository"] = [unloaded.model_name, unloaded.isUnloaded, loaded.model_name, loaded.isLoaded]
    return said
"""

BOTH = """
async def main():
    print(json.dumps({"rest": await rest(), "grpc": await grpc_()}))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def said(served):
    """What both clients say: one process, for KServe takes long to import."""
    return served.run("kserve", COMMON + REST + GRPC + BOTH)


def check(served, said):
    assert said["health"] == [True, True, True]
    for binary in (True, False):
        np.testing.assert_allclose(said[f"scores {binary}"], served.scores, atol=1e-6, rtol=0)
        name, outputs, probabilities = said[f"outputs {binary}"]
        assert (name, outputs) == ("r8", ["outputs"])
        np.testing.assert_allclose(probabilities, served.probabilities, atol=1e-6, rtol=0)


def test_rest_in_binary_and_in_json(served, said):
    check(served, said["rest"])
    assert "this needs a token" in said["rest"]["no token"]


def test_grpc_in_raw_and_in_typed_contents(served, said):
    check(served, said["grpc"])
    assert "UNAUTHENTICATED" in said["grpc"]["no token"]
    assert said["grpc"]["repository"] == ["iris", True, "iris", True]
