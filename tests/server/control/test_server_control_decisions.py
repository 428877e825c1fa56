"""Decisions over HTTP: listed, tried, put in force and brought back; the model stays."""

import pytest

from loopline.loop.deployment import manifest_path
from loopline.models.manifest import read_manifest

LATE = "/api/v1/projects/flights/models/late"


def deciding(served) -> int:
    listed = served.client.get(f"{LATE}/decisions", headers=served.token("models:read")).json()
    (found,) = [one["version"] for one in listed if one["in_force"]]
    return found


def post(served, path: str, body: dict):
    return served.client.post(f"{LATE}/{path}", headers=served.token("models:promote"), json=body)


def test_a_decision_is_tried_put_in_force_and_brought_back(served):
    tried = post(served, "decisions", {"false_negative": 8, "reason": "x", "dry_run": True})
    assert (tried.status_code, tried.json()["version"]) == (200, None)
    assert deciding(served) == 1
    made = post(served, "decisions", {"false_negative": 8, "reason": "x"}).json()
    assert made["version"] == deciding(served) == 2
    manifest = read_manifest(manifest_path(served.resources, "flights"), served.resources.key.public)
    assert (manifest.deployments[0].version, manifest.deployments[0].decision["false_negative"]) == (1, 8)
    assert post(served, "decisions/rollback", {"reason": "x"}).json()["changed"]
    assert deciding(served) == 1


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("decisions", {"reason": "x"}, 400),
        ("decisions", {"false_negative": -1, "reason": "x"}, 400),
        ("decisions", {"threshold": 2, "reason": "x"}, 400),
        ("decisions", {"false_negative": 8}, 400),
        ("decisions", {"false_negative": 8, "reason": "x", "why": 1}, 400),
        ("decisions/rollback", {"reason": "x"}, 404),
        ("decisions/rollback", {"reason": "x", "to": 1}, 409),
    ],
)
def test_what_cannot_be_is_refused(shared, path, body, status):
    assert post(shared, path, body).status_code == status
    assert deciding(shared) == 1
