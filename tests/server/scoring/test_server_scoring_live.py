"""What happens to a scoring process under way: new manifests, wrong manifests, a full disk, kill -9."""

import signal
import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import numpy as np
import polars as pl

from loopline.access.secret import secret_digest
from loopline.features.definitions import LatestView
from loopline.features.online import OnlineFeatures
from loopline.models.manifest import TokenGrant, write_manifest
from loopline.models.signing import load_signing_key
from loopline.scoring.shipper import ship_all
from loopline.storage.key_values import open_key_values
from loopline.tables.tables import Tables


def wait_until(condition, seconds=15.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


@contextmanager
def load(process, rows, threads=4):
    """Callers that send one request after the other until the block ends; gives the list of (status, predictions), the status
    None where the connection failed.
    """
    answers, stop = [], threading.Event()

    def call():
        with process.client() as client:
            while not stop.is_set():
                try:
                    answer = client.post("/predict/late", json={"rows": rows})
                except httpx.TransportError:
                    answers.append((None, []))
                    stop.wait(0.02)
                    continue
                answers.append((answer.status_code, answer.json().get("predictions", [])))

    callers = [threading.Thread(target=call) for _ in range(threads)]
    for caller in callers:
        caller.start()
    try:
        yield answers
    finally:
        stop.set()
        for caller in callers:
            caller.join()


def versions(answers):
    return [prediction["model_version"] for _, predictions in answers for prediction in predictions]


def test_a_swap_under_load_drops_no_request_and_mixes_no_answer(own_home, start):
    home = own_home
    home.deploy(1, sequence=1)
    expected = {version: home.predictor(version).predict(home.rows.head(3)) for version in (1, 2)}
    with start(home) as process, load(process, home.requests(3)) as answers:
        for sequence in range(2, 6):
            version = 2 - sequence % 2
            home.deploy(version, sequence=sequence)
            wait_until(lambda wanted=version: versions(answers[-1:]) == [wanted] * 3)
    assert {status for status, _ in answers} == {200}
    assert set(versions(answers)) == {1, 2}
    for _, predictions in answers:
        (version,) = {prediction["model_version"] for prediction in predictions}
        np.testing.assert_allclose([p["score"] for p in predictions], expected[version], atol=1e-6, rtol=0)
    ids = [prediction["prediction_id"] for _, predictions in answers for prediction in predictions]
    assert len(set(ids)) == len(ids)


def test_a_manifest_that_cannot_be_taken_leaves_the_old_one_serving(own_home, start):
    home = own_home
    path = home.path / "manifests" / "flights.json"
    home.deploy(1, sequence=1)
    with start(home) as process, process.client() as client:
        path.write_bytes(path.read_bytes()[:-20])
        wait_until(lambda: "manifests_refused_total 1" in client.get("/metrics").text)
        (answer,) = client.post("/predict/late", json={"rows": home.requests(1)}).json()["predictions"]
        assert (answer["model_version"], answer["variant"]) == (1, "champion")
        assert "manifest refused" in process.log.read_text()


def test_a_model_that_cannot_be_loaded_at_the_start_is_answered_for_by_the_next_rung(own_home, start):
    home = own_home
    model = home.predictor(2).package.models[0].removeprefix("sha256:")
    (stored,) = (
        path for path in (home.path / "artifacts").rglob("*") if path.is_file() and model.endswith(path.name[-40:])
    )
    stored.chmod(0o600)
    stored.write_bytes(b"damaged" + stored.read_bytes())
    digest, envelope = home.packages[0]
    home.deploy(2, sequence=1, previous={"version": 1, "package": digest, "package_envelope": envelope})
    rows = {"rows": home.requests(2)}
    with start(home) as process, process.client() as client:
        answers = client.post("/predict/late", json=rows).json()["predictions"]
        assert [(answer["variant"], answer["model_version"]) for answer in answers] == [("previous", 1)] * 2
        assert answers[0]["degraded"] == ["model_unavailable"]
        expected = home.predictor(1).predict(home.rows.head(2))
        np.testing.assert_allclose([answer["score"] for answer in answers], expected, atol=1e-6, rtol=0)


def test_features_come_from_the_online_store_as_another_process_writes_it(tmp_path, make_home, start):
    home = make_home(tmp_path, looked_up={"hour"})
    view = LatestView(table="clocks", by="carrier", features={"hour": "hour"})
    home.deploy(1, sequence=1, views=[msgspec.to_builtins(view)])
    (row,) = home.requests(1)
    del row["hour"]
    store = open_key_values(home.path / "online", durable=False)
    online, known = OnlineFeatures(store), home.rows["departs"][0] - timedelta(hours=1)
    with start(home) as process, process.client() as client:
        for minute, hour in enumerate((3, 22)):
            moment = known + timedelta(minutes=minute)
            history = {"_key": [row["carrier"]], "_event_time": [moment], "_known_at": [moment], "_tombstone": [False]}
            news = pl.DataFrame({**history, "carrier": [row["carrier"]], "hour": [hour]})
            online.update([view], "clocks", news, horizon=known - timedelta(days=1))
            (answer,) = client.post("/predict/late", json={"rows": [row]}).json()["predictions"]
            expected = home.predictor(1).predict(home.rows.head(1).with_columns(hour=pl.lit(hour)))
            assert answer["degraded"] == []
            np.testing.assert_allclose(answer["score"], expected[0], atol=1e-6, rtol=0)
    store.close()


def test_without_an_online_store_features_are_missing_and_said_to_be(own_home, start):
    home = own_home
    view = {"kind": "latest", "table": "weather", "by": "origin", "features": {"visib": "visib"}}
    home.deploy(1, sequence=1, views=[view])
    rows = [{**row, "origin": "JFK"} for row in home.requests(1)]
    with start(home) as process, process.client() as client:
        (answer,) = client.post("/predict/late", json={"rows": rows}).json()["predictions"]
        assert (answer["variant"], answer["degraded"]) == ("champion", ["feature_missing:visib"])
        refused = client.post("/predict/late", json={"rows": home.requests(1)})
        assert (refused.status_code, refused.json()["code"]) == (400, "scoring.missing_column")


def test_killed_under_load_what_was_acknowledged_is_in_the_table_exactly_once(own_home, start):
    home = own_home
    home.deploy(1, sequence=1)
    acknowledged = []
    for round_ in range(3):
        with start(home, durable=round_ == 0) as process:
            with load(process, home.requests(2)) as answers:
                wait_until(lambda seen=answers: sum(status == 200 for status, _ in seen) > 50)
                process.process.send_signal(signal.SIGKILL if round_ < 2 else signal.SIGTERM)
                process.process.wait(30)
            acknowledged += [
                p["prediction_id"] for status, predictions in answers if status == 200 for p in predictions
            ]
    tables = Tables(home.path / "tables", durable=False)
    ship_all(home.path / "spool", tables)
    rows = tables.open("predictions.flights.late_arrival").read()
    counts = Counter(rows["prediction_id"].to_list())
    assert len(acknowledged) > 300
    assert [one for one in acknowledged if counts[one] != 1] == []
    assert set(counts.values()) == {1}
    assert rows["principal"].unique().to_list() == ["all"]


def test_a_term_signal_ends_the_process_with_its_spool_sealed(own_home, start):
    home = own_home
    home.deploy(1, sequence=1)
    year = timedelta(days=365)
    with start(home, behind=year.total_seconds()) as process, load(process, home.requests(1)) as answers:
        wait_until(lambda: len(answers) > 20)
        process.process.terminate()
        assert process.process.wait(30) in {0, -signal.SIGTERM}
    assert {status for status, _ in answers} <= {200, None}
    assert list((home.path / "spool").rglob("*.open")) == []
    tables = Tables(home.path / "tables", durable=False)
    ship_all(home.path / "spool", tables)
    known = tables.open("predictions.flights.late_arrival").read()["_known_at"]
    assert timedelta() < datetime.now(UTC) - year - known.max() < timedelta(minutes=5)


def test_a_token_and_an_endpoint_are_there_the_moment_they_are_published(own_home, start):
    home = own_home
    manifest = home.deploy(1, sequence=1)
    with start(home, workers=2) as process:
        for number in range(6):
            grant = TokenGrant(
                digest=secret_digest(f"ll_new{number}"), principal="new", permissions=["predictions:create"]
            )
            place = msgspec.structs.replace(manifest.deployments[0], endpoint=f"new{number}")
            manifest = msgspec.structs.replace(
                manifest,
                sequence=manifest.sequence + 1,
                tokens=[*manifest.tokens, grant],
                deployments=[*manifest.deployments, place],
            )
            write_manifest(home.path / "manifests" / "flights.json", manifest, load_signing_key(home.path / "keys"))
            with process.client() as client:
                client.headers["authorization"] = f"Bearer ll_new{number}"
                answer = client.post(f"/predict/new{number}", json={"rows": home.requests(1)})
                assert answer.status_code == 200, answer.text
                client.headers["authorization"] = "Bearer ll_nobody"
                assert client.post("/predict/late", json={"rows": home.requests(1)}).status_code == 401
