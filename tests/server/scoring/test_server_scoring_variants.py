"""Variants in a real scoring process: who answers which key, what a shadow leaves behind, and what happens when it is behind."""

import asyncio
import time
from collections import Counter

import pytest

from loopline.clock import SystemClock
from loopline.models.manifest import PackagedVersion, Variant
from loopline.scoring.asked import Caller
from loopline.scoring.engine import Engine
from loopline.scoring.segment import read_segment
from loopline.scoring.shipper import ship_all
from loopline.scoring.spool import Spool
from loopline.scoring.spool_folder import SEALED
from loopline.scoring.variants import Shares
from loopline.server.scoring.group_commit import GroupCommit
from loopline.server.scoring.metrics import Metrics
from loopline.server.scoring.shadows import Shadows
from loopline.tables.tables import Tables

KEYS = [f"k{number}" for number in range(200)]


def variant(home, name, share, role="canary", *, version=2, salt="s") -> Variant:
    package, envelope = home.packages[version - 1]
    served = PackagedVersion(version=version, package=package, package_envelope=envelope)
    return Variant(name=name, role=role, served=served, share=share, salt=salt)


def requests(home, keys):
    rows = home.requests(len(keys))
    return [{**row, "flight_id": key} for row, key in zip(rows, keys, strict=True)]


def ask(process, home, keys=KEYS):
    with process.client() as client:
        answer = client.post("/predict/late", json={"rows": requests(home, keys)})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def follows(process, sequence):
    wanted = f'loopline_scoring_manifest_sequence{{project="flights"}} {sequence}'
    end = time.monotonic() + 60
    with process.client() as client:
        while wanted not in client.get("/metrics").text.splitlines():
            assert time.monotonic() < end
            time.sleep(0.05)


def counted(process, name):
    with process.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines if line.startswith(name + "{")}


def test_keys_keep_their_variant_over_restarts_and_growth_and_a_shadow_never_answers(own_home, start):
    home = own_home
    small = variant(home, "c", 0.2)
    shadow = variant(home, "s", 1.0, "shadow", salt="t")
    home.deploy(1, sequence=1, variants=(small, shadow))
    expected = Shares((small,)).choose_many(KEYS)
    assert 0 < expected.count("c") < len(KEYS)
    with start(home) as process:
        first = ask(process, home)
        assert [one["variant"] for one in first] == expected
        scores = {
            version: home.predictor(version).predict(home.rows.head(len(KEYS)).drop("flight_id", "departs"))
            for version in (1, 2)
        }
        for place, one in enumerate(first):
            version = 2 if expected[place] == "c" else 1
            assert (one["model_version"], one["degraded"]) == (version, [])
            assert one["score"] == pytest.approx(scores[version][place], abs=1e-6)
    with start(home) as process:
        assert [one["variant"] for one in ask(process, home)] == expected
        home.deploy(1, sequence=2, variants=(variant(home, "c", 0.5), shadow))
        follows(process, 2)
        grown = [one["variant"] for one in ask(process, home)]
        moved = {(was, became) for was, became in zip(expected, grown, strict=True) if was != became}
        assert moved == {("champion", "c")}
        end = time.monotonic() + 60
        scored = 'loopline_scoring_shadows_total{endpoint="late",variant="s",became="scored"}'
        while counted(process, "loopline_scoring_shadows_total").get(scored, 0) < 2 * len(KEYS):
            assert time.monotonic() < end
            time.sleep(0.05)
    tables = Tables(home.path / "tables", durable=False)
    ship_all(home.path / "spool", tables)
    answered = tables.open("predictions.flights.late_arrival").read()
    shadowed = tables.open("shadows.flights.late_arrival").read()
    assert set(answered["variant"]) == {"champion", "c"}
    assert set(shadowed["variant"]) == {"s"}
    assert answered["prediction_id"].n_unique() == answered.height == 3 * len(KEYS)
    both = shadowed.join(answered, on="prediction_id", how="inner", suffix="_answered")
    assert both.height == shadowed.height
    assert both["_key"].to_list() == both["_key_answered"].to_list()
    of_two = dict(zip(KEYS, scores[2], strict=True))
    assert both["score"].to_list() == pytest.approx([of_two[key] for key in both["_key"]], abs=1e-6)
    assert both["latency_ms"].null_count() == both["latency_ms_answered"].null_count() == 0


def test_a_variant_that_cannot_be_loaded_leaves_its_rows_to_the_champion(own_home, start):
    home = own_home
    gone = PackagedVersion(version=2, package="sha256:" + "0" * 64, package_envelope="sha256:" + "0" * 64)
    lost = Variant(name="c", role="canary", served=gone, share=0.5, salt="s")
    home.deploy(1, sequence=1, variants=(lost,))
    expected = Shares((lost,)).choose_many(KEYS)
    with start(home) as process:
        found = ask(process, home)
        assert {one["variant"] for one in found} == {"champion"}
        assert [one["degraded"] == ["variant_failed:c"] for one in found] == [name == "c" for name in expected]
        told = counted(process, "loopline_scoring_degraded_total")
    assert told == {
        'loopline_scoring_degraded_total{endpoint="late",reason="variant_failed"}': expected.count("c"),
    }


def test_what_is_too_much_for_a_shadow_is_dropped_and_counted(own_home, tmp_path):
    home = own_home
    served = home.deploy(1, sequence=1, variants=(variant(home, "s", 1.0, "shadow"), variant(home, "t", 0.5, "shadow")))
    engine = Engine(
        "flights",
        served.deployments[0],
        home.predictor(1),
        clock=SystemClock(),
        instance="spool:1",
        variants={"s": home.predictor(2)},
    )
    spool, metrics = Spool(tmp_path / "own", fsync=False), Metrics()
    shadows = Shadows(GroupCommit(spool, fsync=False), metrics, most_waiting=50)
    asked = engine.ask(requests(home, KEYS[:30]))
    predictions = engine.answer(asked, engine.score(asked), Caller("gate"))

    async def overload() -> None:
        for _ in range(3):
            shadows.offer(engine, asked, predictions, Caller("gate"))
        await shadows.finished()
        shadows.offer(engine, asked, predictions, Caller("gate"))
        await shadows.finished()

    asyncio.run(overload())
    spool.close()
    half = len(engine.beside.shares.shadowed(KEYS[:30])["t"])
    lines = [line for line in metrics.exposition().splitlines() if line.startswith("loopline_scoring_shadows_total{")]
    counts = Counter({tuple(line.split('"')[3::2][:2]): float(line.split()[-1]) for line in lines})
    assert counts == {
        ("s", "scored"): 60,
        ("s", "dropped"): 60,
        ("t", "failed"): 2 * half,
        ("t", "dropped"): 2 * half,
    }
    [segment] = [spool.folder.segment(number, SEALED) for number in spool.folder.numbers(SEALED)]
    assert len(list(read_segment(segment))) == 2
