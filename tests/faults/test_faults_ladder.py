"""The feature store, the control plane and the disk are taken away from a scoring process one by one: it answers as configured, and says so."""

import subprocess
from contextlib import contextmanager
from datetime import timedelta

import httpx
import msgspec
import numpy as np
import polars as pl
import pytest
from tests.server.scoring.conftest import built_home, running
from tests.server.scoring.test_server_scoring_live import wait_until

from loopline.features.definitions import LatestView
from loopline.features.online import OnlineFeatures
from loopline.models.breaker_terms import BreakerTerms
from loopline.models.contract_terms import ContractTerms
from loopline.models.ladder_terms import LadderTerms
from loopline.models.rule import rule
from loopline.scoring.shipper import ship_all
from loopline.storage.key_values import open_key_values
from loopline.tables.tables import Tables

VIEW = LatestView(table="clocks", by="carrier", features={"hour": "hour"})
ROOT_OF_THE_DATA = 128  # bytes into each of LMDB's two first pages: where its tree begins
PAGE = 4096


def ask(client, rows, **options):
    answer = client.post("/predict/late", json={"rows": rows}, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def patiently(client, rows):
    """The first prediction, also while a worker that died is replaced."""
    found = []

    def answered():
        try:
            found.append(ask(client, rows)[0])
        except httpx.TransportError:
            return False
        return True

    wait_until(answered, 60)
    return found[-1]


def logged(home):
    """The table of predictions, with what is still in the spool."""
    tables = Tables(home.path / "tables", durable=False)
    ship_all(home.path / "spool", tables)
    return tables.open("predictions.flights.late_arrival").read()


def metric(client, name):
    """The samples of a metric, labels and value."""
    lines = client.get("/metrics").text.splitlines()
    return [
        line.partition("}")[0] + "} " + line.rpartition(" ")[2]
        for line in lines
        if line.startswith(f"loopline_scoring_{name}")
    ]


def hour_of(home, row, hour):
    """The score of a row with that hour, by the model itself."""
    frame = home.rows.filter(pl.col("flight_id") == row["flight_id"]).with_columns(hour=pl.lit(hour))
    return home.predictor(1).predict(frame)[0]


def damage(file):
    """Let the tree begin beyond the end."""
    for page in (0, 1):
        file.seek(page * PAGE + ROOT_OF_THE_DATA)
        file.write((1 << 40).to_bytes(8, "little"))


def test_without_the_feature_store_features_are_as_they_were_last_or_typical(tmp_path):
    home = built_home(tmp_path, looked_up={"hour"})
    home.deploy(
        1,
        sequence=1,
        views=[msgspec.to_builtins(VIEW)],
        contract=ContractTerms(feature_missing="impute"),
        ladder=LadderTerms(store_breaker=BreakerTerms(failures=3, wait_s=2.0, longest_s=2.0, probes=1)),
    )
    (row,) = home.requests(1)
    del row["hour"]
    typical = home.rows["hour"].sort()[(home.rows.height - 1) // 2]
    known, data = home.rows["departs"][0] - timedelta(hours=1), home.path / "online" / "data.mdb"
    with running(home) as process, process.client() as client:
        # There was never a store.
        said = [ask(client, [row])[0] for _ in range(4)]
        assert said[0]["degraded"] == ["feature_missing:hour", "imputed:hour"]
        assert said[-1]["degraded"] == ["breaker_open:features", "feature_missing:hour", "imputed:hour"]
        np.testing.assert_allclose(said[0]["score"], hour_of(home, row, typical), atol=1e-6, rtol=0)
        opened = 'loopline_scoring_breaker_transitions_total{endpoint="late",breaker="features",to="open"} 1'
        assert metric(client, "breaker_transitions_total") == [opened]

        # It comes.
        store = open_key_values(home.path / "online", durable=False)
        history = {"_key": ["k"], "_event_time": [known], "_known_at": [known], "_tombstone": [False]}
        news = pl.DataFrame({**history, "carrier": [row["carrier"]], "hour": [22]})
        OnlineFeatures(store).update([VIEW], "clocks", news, horizon=known - timedelta(days=1))
        wait_until(lambda: ask(client, [row])[0]["degraded"] == [])
        fresh = ask(client, [row])[0]
        np.testing.assert_allclose(fresh["score"], hour_of(home, row, 22), atol=1e-6, rtol=0)

        # Its file is damaged under the process's hands.
        whole = data.read_bytes()
        with data.open("r+b") as file:
            damage(file)
        stale, other = ask(client, [row, {**row, "flight_id": "other", "carrier": "ZZ"}])
        assert (stale["score"], stale["degraded"]) == (fresh["score"], ["feature_stale:hour:0s"])
        assert set(other["degraded"]) == {"unseen_category:carrier", "feature_missing:hour", "imputed:hour"}

        # It is mended.
        with data.open("r+b") as file:
            file.write(whole[: 2 * PAGE])
        wait_until(lambda: ask(client, [row])[0]["degraded"] == [])

        # It is emptied: a map of nothing kills the worker, and the next knows of no store.
        store.close()
        with data.open("r+b") as file:
            file.truncate(0)
        gone = patiently(client, [row])
        assert gone["variant"] == "champion"
        assert {"feature_missing:hour", "imputed:hour"} <= set(gone["degraded"])
    table = logged(home)
    rows = {one["prediction_id"]: one for one in table.iter_rows(named=True)}
    for one, hour in [(said[0], float(typical)), (fresh, 22.0), (stale, 22.0), (gone, float(typical))]:
        assert rows[one["prediction_id"]]["feature_hour"] == hour
        assert rows[one["prediction_id"]]["degraded"] == one["degraded"]


def test_without_the_control_plane_and_the_artifacts_it_serves_on_and_begins_anew_with_a_rule(tmp_path):
    home = built_home(tmp_path)
    by_hand = rule([("distance > 1500", 0.9)], otherwise=0.1)
    home.deploy(1, sequence=1, rule=by_hand)
    rows = home.requests(4)
    manifest = home.path / "manifests" / "flights.json"
    content = manifest.read_bytes()
    with running(home) as process, process.client() as client:
        before = ask(client, rows)
        (home.path / "artifacts").rename(home.path / "elsewhere")
        manifest.write_bytes(content[:-20])
        wait_until(lambda: metric(client, "manifests_refused_total") != [] and "refused" in process.log.read_text())
        manifest.unlink()
        after = ask(client, rows)
        assert [one["score"] for one in after] == [one["score"] for one in before]
        assert {(one["variant"], tuple(one["degraded"])) for one in after} == {("champion", ())}
    manifest.write_bytes(content)
    with running(home) as process, process.client() as client:
        ruled = ask(client, rows)
        expected = [(0.9, 1) if row["distance"] > 1500 else (0.1, 0) for row in rows]
        assert [(one["score"], one["degraded"]) for one in ruled] == [
            (score, ["model_unavailable", f"rule:{clause}"]) for score, clause in expected
        ]
        assert {(one["variant"], one["model_version"]) for one in ruled} == {("rule", 0)}
    assert logged(home)["variant"].value_counts().sort("variant").rows() == [("champion", 8), ("rule", 4)]


@contextmanager
def small_disk(path, kilobytes):
    """A disk of that size at `path`, of this test alone."""
    path.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.mark.parametrize("synced", [False, True])
def test_with_a_full_disk_each_endpoint_does_as_it_is_told_and_loses_nothing_silently(tmp_path, synced):
    home = built_home(tmp_path)
    rows = home.requests(200)
    with small_disk(home.path / "spool", 128) as disk:
        home.deploy(1, sequence=1)
        with running(home, durable=synced) as process, process.client() as client:
            answers = [client.post("/predict/late", json={"rows": rows}) for _ in range(60)]
            taken = [one for one in answers if one.status_code == 200]
            assert {one.status_code for one in answers} == {200, 503}
            assert {one.json()["code"] for one in answers if one.status_code == 503} == {"spool.full"}
            assert {tuple(one["degraded"]) for each in taken for one in each.json()["predictions"]} == {()}

            home.deploy(1, sequence=2, ladder=LadderTerms(on_log_failure="serve"))
            wait_until(lambda: client.post("/predict/late", json={"rows": rows}).status_code == 200)
            unlogged = ask(client, rows)
            assert {tuple(one["degraded"]) for one in unlogged} == {("not_logged",)}
            (lost,) = metric(client, "not_logged_total")
            assert int(lost.rpartition(" ")[2]) >= len(rows)

            subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
            wait_until(lambda: ask(client, rows)[0]["degraded"] == [])
        table = logged(home)
    ids = {one["prediction_id"] for each in taken for one in each.json()["predictions"]}
    assert ids <= set(table["prediction_id"])
    assert not {one["prediction_id"] for one in unlogged} & set(table["prediction_id"])
    assert table["prediction_id"].is_unique().all()
