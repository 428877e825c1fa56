"""Our messages, and those that other packages register under the same names, in one process and in either order."""

import json
import os
import subprocess

import pytest

ROOT = __file__.partition("/tests/")[0]
OURS = """
from loopline.server.protocols.oip.messages import messages
made = messages()["ModelInferRequest"](model_name="late")
made.inputs.add(name="x", datatype="FP64", shape=[1]).contents.fp64_contents.append(0.5)
ours = made.SerializeToString()
"""
THEIRS = {
    "triton": "from tritonclient.grpc.service_pb2 import ModelInferRequest as Theirs",
    "kserve": "from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest as Theirs",
}
COMPARED = """
import json, sys
from google.protobuf import descriptor_pool
again = Theirs.FromString(ours)
registered = descriptor_pool.Default().FindMessageTypeByName("inference.ModelInferRequest")
print(json.dumps({
    "same": again.SerializeToString() == ours and again.inputs[0].contents.fp64_contents[0] == 0.5,
    "registered": registered is Theirs.DESCRIPTOR,
    "ours_apart": made.DESCRIPTOR is not Theirs.DESCRIPTOR and made.DESCRIPTOR.file.name == "loopline/inference.proto",
}))
"""


@pytest.mark.parametrize("client", THEIRS)
@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_both_live_in_one_process(client_of, client, first):
    parts = [OURS, THEIRS[client]] if first == "ours" else [THEIRS[client], OURS]
    done = subprocess.run(
        [client_of(client), "-c", "\n".join([*parts, COMPARED])],
        env={**os.environ, "PYTHONPATH": f"{ROOT}/src"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"same": True, "registered": True, "ours_apart": True}
