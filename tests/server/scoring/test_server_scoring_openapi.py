"""The description is valid OpenAPI 3.1, of every route, and what is answered is as it says."""

import httpx
import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from loopline.access.permissions import Permission
from loopline.clock import SystemClock
from loopline.server.scoring.metrics import Metrics
from loopline.server.scoring.openapi import description
from loopline.server.scoring.repository import Repository
from loopline.server.scoring.routes import Public
from loopline.server.scoring.surface import all_routes
from loopline.server.scoring.unloaded import Unloaded

DESCRIBED = all_routes(None, Metrics(), Repository(Unloaded()), clock=SystemClock())


@pytest.fixture(scope="module")
def document(process):
    return httpx.get(f"http://127.0.0.1:{process.port}/openapi.json").json()


def test_it_is_valid_and_the_same_as_the_routes_say(document):
    OpenAPIV31SpecValidator(document).validate()
    assert document == description(DESCRIBED)


def test_every_route_is_there_with_what_it_needs(document):
    for route in DESCRIBED:
        operation = document["paths"][route.path][route.method.lower()]
        public = isinstance(route.permission, Public)
        assert (operation["security"] == []) == public
        assert public or f"`{Permission(route.permission)}`" in operation["description"]
    assert sum(len(operations) for operations in document["paths"].values()) == len(DESCRIBED)
    names = [one["operationId"] for operations in document["paths"].values() for one in operations.values()]
    assert len(set(names)) == len(names)


def tensors(rows):
    kinds = {"flight_id": "BYTES", "departs": "BYTES", "carrier": "BYTES", "distance": "FP64", "hour": "INT64"}
    return [{"name": n, "shape": [len(rows)], "datatype": kinds[n], "data": [row[n] for row in rows]} for n in kinds]


def asked(home):
    rows = home.requests(2)
    return [
        ("POST", "/predict/{endpoint}", {"rows": rows}),
        ("GET", "/v2", None),
        ("GET", "/v2/health/live", None),
        ("GET", "/v2/health/ready", None),
        ("GET", "/v2/models/{endpoint}", None),
        ("GET", "/v2/models/{endpoint}/ready", None),
        ("POST", "/v2/models/{endpoint}/infer", {"inputs": tensors(rows), "id": "7"}),
        ("POST", "/v2/repository/index", {}),
        ("POST", "/invocations", {"dataframe_records": rows}),
        ("POST", "/invocations/{endpoint}", {"dataframe_records": rows, "params": {"output": "score"}}),
    ]


def test_requests_and_answers_are_as_described(document, process, home):
    def fits(value, schema):
        jsonschema.validate(value, {**schema, "components": document["components"]})

    with process.client() as client:
        for method, path, body in asked(home):
            operation = document["paths"][path][method.lower()]
            if body is not None:
                fits(body, operation["requestBody"]["content"]["application/json"]["schema"])
            answer = client.request(method, path.format(endpoint="late"), json=body)
            assert answer.status_code == 200
            fits(answer.json(), operation["responses"]["200"]["content"]["application/json"]["schema"])
        refused = client.post("/predict/late", json={"rows": [{}]})
        fits(refused.json(), operation["responses"]["default"]["content"]["application/json"]["schema"])
        with pytest.raises(jsonschema.ValidationError):
            fits({"error": "x"}, operation["responses"]["default"]["content"]["application/json"]["schema"])
