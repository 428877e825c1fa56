"""MLflow's clients, unchanged, and curl."""

import json
import subprocess

import numpy as np
import pytest

SERVER_CLIENT = """
import json, os
import numpy as np
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

# This client knows no tokens; requests, which it is made of, reads them from a .netrc file.
with open(os.environ["NETRC"], "w") as file:
    file.write(f"machine 127.0.0.1 login any password {os.environ['TOKEN']}\\n")
os.chmod(os.environ["NETRC"], 0o600)
rows, iris = json.loads(os.environ["ROWS"]), json.loads(os.environ["IRIS"])
frame = pd.DataFrame(rows)
missing = frame.assign(distance=[None, *frame["distance"][1:]])
client = ScoringServerClient(*os.environ["ONE"].split(":"))
client.wait_server_ready()
said = {
    "version": client.get_version(),
    "one": client.invoke(frame).get_predictions()["score"].tolist(),
    "missing": client.invoke(missing).get_predictions()["degraded"].tolist()[:2],
}
try:
    ScoringServerClient(*os.environ["HTTP"].split(":")).invoke(frame)
except Exception as error:
    said["which"] = str(error)
"""

DEPLOYMENTS = """
from mlflow.deployments import PredictionsResponse, get_deploy_client
from mlflow.utils.proto_json_utils import dump_input_data

os.environ["MLFLOW_TRACKING_TOKEN"] = os.environ["TOKEN"]
client = get_deploy_client("http://" + os.environ["HTTP"])

def ask(endpoint, data, **params):
    body = json.loads(dump_input_data(data, params=params or None))
    return PredictionsResponse(client.predict(endpoint=endpoint, inputs=body))

said |= {
    "frame": ask("late", frame).get_predictions()["score"].tolist(),
    "matrix": ask("iris", np.array(iris), output="outputs").get_predictions("ndarray").tolist(),
    "species": client.predict(endpoint="iris", inputs={"instances": iris, "params": {"output": "decision"}})["predictions"],
}
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(served, process, tmp_path_factory):
    """What both clients say: one process, for MLflow takes long to import."""
    one, netrc = f"127.0.0.1:{process.port}", tmp_path_factory.mktemp("netrc") / "netrc"
    return served.run("mlflow", SERVER_CLIENT + DEPLOYMENTS, NETRC=str(netrc), ONE=one)


def test_the_scoring_servers_client_with_a_netrc(served, said):
    assert said["version"] == "0.1.0"
    np.testing.assert_allclose(said["one"], served.scores, atol=1e-6, rtol=0)
    assert said["missing"] == [["null_unseen:distance"], []]
    assert "mlflow.which_endpoint" in said["which"]


def test_the_deployments_client(served, said):
    np.testing.assert_allclose(said["frame"], served.scores, atol=1e-6, rtol=0)
    np.testing.assert_allclose(said["matrix"], served.probabilities, atol=1e-6, rtol=0)
    assert said["species"] == [("setosa", "versicolor", "virginica")[place] for place in served.probabilities.argmax(1)]


def curl(served, path, *arguments, body=None):
    command = ["curl", "--silent", "--header", "authorization: Bearer ll_all", *arguments]
    command += [] if body is None else ["--data-binary", "@-"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{served.process.port}{path}"],
        input=body,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout


CSV, JSON = ("--header", "content-type: text/csv"), ("--header", "content-type: application/json")


def forms(rows):
    names = list(rows[0])
    values = [[row[name] for name in names] for row in rows]
    return {
        "dataframe_split": {"columns": names, "data": values},
        "dataframe_records": rows,
        "instances": rows,
        "inputs": {name: [row[name] for row in rows] for name in names},
    }


@pytest.mark.parametrize("form", ["dataframe_split", "dataframe_records", "instances", "inputs", "csv"])
def test_curl_sends_every_form(served, form):
    if form == "csv":
        names = list(served.rows[0])
        lines = [",".join(names), *(",".join(str(row[name]) for name in names) for row in served.rows)]
        answer = curl(served, "/invocations/late", *CSV, body="\n".join(lines))
    else:
        answer = curl(served, "/invocations/late", *JSON, body=json.dumps({form: forms(served.rows)[form]}))
    scores = [one["score"] for one in json.loads(answer)["predictions"]]
    np.testing.assert_allclose(scores, served.scores, atol=1e-6, rtol=0)


def test_curl_names_the_endpoint_in_a_header_or_learns_that_it_must(served):
    body = json.dumps({"inputs": served.iris.tolist(), "params": {"output": "score"}})
    named = json.loads(curl(served, "/invocations", *JSON, "--header", "x-loopline-endpoint: iris", body=body))
    np.testing.assert_allclose(named["predictions"], served.probabilities.max(axis=1), atol=1e-6, rtol=0)
    refused = json.loads(curl(served, "/invocations", *JSON, body=body))
    assert (refused["code"], refused["error_code"]) == ("mlflow.which_endpoint", "RESOURCE_DOES_NOT_EXIST")


def test_curl_is_told_what_is_wrong_as_mlflow_tells_it(served):
    refused = json.loads(curl(served, "/invocations/late", *JSON, body='{"inputs": {"hour": ["ten"]}}'))
    assert refused["error_code"] == "BAD_REQUEST"
    assert refused["message"] == refused["error"]
    assert refused["code"] == "scoring.missing_column"
    assert json.loads(curl(served, "/invocations/late", *JSON, body="{"))["code"] == "http.bad_json"


def test_curl_pings_without_a_token(served):
    url = f"http://127.0.0.1:{served.process.port}"
    for path in ("/ping", "/health"):
        done = subprocess.run(["curl", "--silent", "--fail", url + path], capture_output=True, check=True, timeout=30)
        assert done.stdout == b"\n"
