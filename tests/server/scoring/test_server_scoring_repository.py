"""What is served: who sees it, and what taking an endpoint out by hand does to it, in every worker."""

import time
from datetime import UTC, datetime

import httpx
import msgspec
import pytest

from loopline.access.secret import secret_digest
from loopline.clock import SystemClock
from loopline.config import Settings
from loopline.errors import InvalidInput, Unavailable
from loopline.models.manifest import TokenGrant, write_manifest
from loopline.models.signing import load_signing_key
from loopline.server.scoring.loading import Loader
from loopline.server.scoring.repository import Repository, check_load
from loopline.server.scoring.serving import Serving
from loopline.server.scoring.unloaded import Unloaded
from loopline.storage.artifacts import open_artifacts

NOW = datetime.now(UTC)


def grant(secret, *permissions):
    return TokenGrant(digest=secret_digest(secret), principal=secret[3:], permissions=list(permissions))


def deploy_two(home):
    """Endpoint `late` in project flights and `later` in trains, each with tokens of its own."""
    manifest = home.deploy(1, sequence=1)
    operator = grant("ll_flights", "incidents:act", "models:read", "predictions:create")
    trains = grant("ll_trains", "incidents:act", "models:read", "predictions:create")
    later = msgspec.structs.replace(manifest.deployments[0], endpoint="later", model="later")
    key = load_signing_key(home.path / "keys")
    flights = msgspec.structs.replace(manifest, sequence=2, tokens=[*manifest.tokens, operator])
    other = msgspec.structs.replace(manifest, project="trains", deployments=[later], tokens=[trains])
    write_manifest(home.path / "manifests" / "flights.json", flights, key)
    write_manifest(home.path / "manifests" / "trains.json", other, key)


@pytest.fixture(scope="module")
def two(tmp_path_factory, make_home):
    home = make_home(tmp_path_factory.mktemp("two"))
    deploy_two(home)
    return home


@pytest.fixture
def serving(two):
    artifacts = open_artifacts(str(two.path / "artifacts"))
    return Loader(Settings(home=two.path), artifacts, list, clock=SystemClock(), instance="i").load(Serving())


def test_the_index_is_of_the_projects_in_which_a_token_may_read(serving):
    repository = Repository(Unloaded())

    def names(secret):
        return [one.name for one in repository.index(serving, secret, NOW)]

    assert names("ll_flights") == ["late"]
    assert names("ll_trains") == ["later"]
    assert names("ll_scorer") == names("ll_expired") == names("ll_guess") == names("") == []


def test_one_endpoint_held_back_does_not_make_the_others_unready(serving):
    unloaded = Unloaded()
    repository = Repository(unloaded)
    assert not repository.is_ready(Serving())
    repository.unload(serving.engine("late"), "someone")
    assert repository.is_ready(serving)
    assert not repository.is_engine_ready(serving.engine("late"))
    repository.unload(serving.engine("later"), "someone")
    assert not repository.is_ready(serving)
    with pytest.raises(Unavailable) as caught:
        unloaded.refuse("late")
    assert caught.value.code == "scoring.unloaded"
    repository.load(serving.engine("late"), "someone")
    assert repository.is_ready(serving)
    unloaded.refuse("late")


def test_workers_tell_each_other_by_their_folder(tmp_path):
    one, other = Unloaded(tmp_path), Unloaded(tmp_path)
    one.unload("late@staging/é", "someone")
    assert other.names == frozenset()
    other.look()
    assert other.names == one.names == {"late@staging/é"}
    assert Unloaded(tmp_path).names == {"late@staging/é"}  # one that takes the place of a dead worker
    other.load("late@staging/é", "someone")
    one.look()
    assert one.names == frozenset()
    one.load("late@staging/é", "someone")  # again, and nothing is there


def test_a_load_brings_nothing_of_its_own():
    check_load(["unload_dependents"])
    for parameters in (["config"], ["file:1/model.onnx"]):
        with pytest.raises(InvalidInput) as caught:
            check_load(parameters)
        assert caught.value.code == "oip.load_override"


@pytest.fixture(scope="module")
def process(two, start):
    with start(two, workers=2) as started:
        yield started


def ask(process, path, token, body, **headers):
    """On a connection of its own: whichever worker is free takes it."""
    given = {"authorization": f"Bearer {token}", **headers}
    return httpx.post(f"http://127.0.0.1:{process.port}{path}", json=body, headers=given, timeout=30)


def until_all(process, status, two):
    end = time.monotonic() + 30
    while {ask(process, "/predict/late", "ll_flights", {"rows": two.requests(1)}).status_code for _ in range(12)} != {
        status
    }:
        assert time.monotonic() < end


def test_every_worker_follows_and_nothing_else_is_touched(process, two):
    rows = {"rows": two.requests(1)}
    assert ask(process, "/v2/repository/models/late/unload", "ll_scorer", {}).status_code == 403
    assert ask(process, "/v2/repository/models/late/unload", "ll_trains", {}).json()["code"] == "token.unknown"
    assert ask(process, "/v2/repository/models/nobody/unload", "ll_flights", {}).status_code == 404
    assert ask(process, "/v2/repository/models/late/unload", "ll_flights", {}).json() == {}
    until_all(process, 503, two)
    refused = ask(process, "/predict/late", "ll_flights", rows)
    assert (refused.json()["code"], refused.headers["retry-after"]) == ("scoring.unloaded", "1")
    assert ask(process, "/invocations/late", "ll_flights", {"instances": two.requests(1)}).status_code == 503
    assert ask(process, "/predict/later", "ll_trains", rows).status_code == 200
    assert httpx.get(f"http://127.0.0.1:{process.port}/v2/health/ready").status_code == 200
    assert ask(process, "/v2/repository/models/late/load", "ll_flights", None).json() == {}
    until_all(process, 200, two)


def test_a_token_of_one_project_asks_nothing_of_another_however_the_endpoint_is_named(process, two):
    body = {"instances": two.requests(1)}
    assert ask(process, "/invocations", "ll_trains", body, **{"x-loopline-endpoint": "later"}).status_code == 200
    for path, header in (
        ("/invocations", "late"),
        ("/invocations/late", "later"),
        ("/endpoints/late/invocations", "later"),
    ):
        refused = ask(process, path, "ll_trains", body, **{"x-loopline-endpoint": header})
        assert (refused.status_code, refused.json()["code"]) == (401, "token.unknown")
        assert refused.json()["error_code"] == "UNAUTHENTICATED"
    which = ask(process, "/invocations", "ll_trains", body)
    assert (which.status_code, which.json()["code"]) == (404, "mlflow.which_endpoint")
    unknown = ask(process, "/invocations", "ll_trains", body, **{"x-loopline-endpoint": "nobody"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "scoring.endpoint_not_found")
