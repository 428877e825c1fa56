"""Variants as they score: each row by the model its key falls to, each with its own ladder, shadows apart."""

from datetime import UTC, datetime
from time import perf_counter as perf

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopline.errors import InvalidInput, Unavailable
from loopline.models.manifest import PackagedVersion, Variant
from loopline.scoring.asked import Caller
from loopline.scoring.block import encode
from loopline.scoring.block_frame import prediction_frame
from loopline.scoring.engine import Engine
from loopline.scoring.ladder import Ahead
from loopline.scoring.record import prediction_table
from loopline.scoring.shipper import ship
from loopline.scoring.spool import Spool
from loopline.scoring.variants import Shares
from loopline.tables.tables import Tables

GIVEN = ("distance", "carrier", "dewpoint")
AT = datetime(2026, 5, 1, 10, tzinfo=UTC)


def variant(name, version, share=0.4, role="canary", salt="s") -> Variant:
    served = PackagedVersion(version=version, package=name, package_envelope="e")
    return Variant(name=name, role=role, served=served, share=share, salt=salt)


VARIANTS = (variant("c", 5), variant("b", 6, 0.3, "split"), variant("s", 7, 1.0, "shadow", "t"))


@pytest.fixture
def only_given(signature):
    return msgspec.structs.replace(signature, fields=signature.fields[:3])


@pytest.fixture
def make(deployment, only_given, scorer, clock):
    """Makes an engine; the models of `c`, `b` and `s` weigh twice, three and four times as much as the champion's."""

    def made(variants=VARIANTS, without=(), **changes):
        served = msgspec.structs.replace(deployment, variants=variants, **changes)
        models = {
            one.name: scorer(only_given, weight=1e-3 * (2 + place))
            for place, one in enumerate(VARIANTS)
            if one.name not in without and one in variants
        }
        champion, previous = scorer(only_given), scorer(only_given, weight=5e-4)
        engine = Engine("flights", served, champion, previous, clock=clock, instance="spool:1", variants=models)
        return engine, {"champion": champion, "previous": previous, **models}

    return made


def request(keys):
    return [
        {
            "flight_id": key,
            "departs": AT.isoformat(),
            "distance": 100.0 + 7 * place,
            "carrier": ["UA", "AA", "DL"][place % 3],
            "dewpoint": 1.5,
        }
        for place, key in enumerate(keys)
    ]


keys = st.lists(st.text("abcdefgh0123", min_size=1, max_size=6), min_size=1, max_size=25, unique=True)


@given(keys)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_row_is_scored_by_the_model_its_key_falls_to_and_as_if_alone(make, keys):
    engine, models = make()
    found = engine.predict(request(keys), principal="gate", request_id="r")
    assert [one.key for one in found] == keys
    chosen = Shares(VARIANTS).choose_many(keys)
    versions = {"champion": 4, "c": 5, "b": 6}
    for place, (one, row, name) in enumerate(zip(found, request(keys), chosen, strict=True)):
        carrier = ["UA", "AA", "DL"].index(row["carrier"])
        total = np.float32(row["distance"]) + np.float64(carrier) + 1.5
        assert one.score == pytest.approx(1 / (1 + np.exp(-models[name].weight * total)), abs=1e-12)
        assert (one.variant, one.model_version, one.degraded) == (name, versions[name], ())
        [alone] = engine.predict([row], principal="gate", request_id="r")
        assert (alone.score, alone.prediction_id, alone.variant) == (one.score, one.prediction_id, one.variant)
        assert found[place] == one
    assert len({one.scored_at for one in found}) == 1


KEYS = [f"k{number}" for number in range(40)]


def test_where_a_variant_fails_the_champion_answers_and_says_so(make):
    engine, models = make()
    before = engine.predict(request(KEYS), principal=None)
    models["c"].fails = True
    after = engine.predict(request(KEYS), principal=None)
    for was, became in zip(before, after, strict=True):
        if was.variant == "c":
            assert (became.variant, became.model_version, became.degraded) == ("champion", 4, ("variant_failed:c",))
        else:
            assert (became.variant, became.score, became.degraded) == (was.variant, was.score, ())
    assert {one.variant for one in before} == {"champion", "c", "b"}


def test_a_variant_has_the_champions_whole_ladder_below_it(make):
    engine, models = make()
    models["c"].fails = models["champion"].fails = True
    told = {one.variant: one.degraded for one in engine.predict(request(KEYS), principal=None)}
    failing = {one.degraded for one in engine.predict(request(KEYS), principal=None) if one.variant == "previous"}
    assert failing == {("variant_failed:c", "model_unavailable"), ("model_unavailable",)}
    assert told["b"] == ()
    models["previous"].fails = True
    last = {one.degraded for one in engine.predict(request(KEYS), principal=None) if one.variant == "fallback"}
    assert last == {("variant_failed:c", "model_unavailable"), ("model_unavailable",)}


def test_one_that_cannot_be_loaded_leaves_its_rows_to_the_champion(make):
    engine, _ = make(without=("c", "s"))
    found = engine.predict(request(KEYS), principal=None)
    chosen = Shares(VARIANTS).choose_many(KEYS)
    assert [one.degraded == ("variant_failed:c",) for one in found] == [name == "c" for name in chosen]
    asked = engine.ask(request(KEYS))
    with pytest.raises(Unavailable, match="cannot be loaded"):
        engine.shadow(asked, "s", KEYS, Caller())


def test_what_is_wrong_with_a_row_is_told_whoever_would_have_answered(make):
    engine, _ = make(variants=(variant("c", 5, 1.0),))
    with pytest.raises(InvalidInput):
        engine.predict([{**request(["a"])[0], "distance": "far"}], principal=None)
    with pytest.raises(InvalidInput, match="32"):
        engine.predict([{**request(["a"])[0], "distance": 1e39}], principal=None)


def test_a_batch_is_asked_for_the_champions_rows_alone(make):
    engine, models = make()
    asked = engine.ask(request(KEYS))
    matrix = engine.matrix(asked)
    assert len(matrix) == Shares(VARIANTS).choose_many(KEYS).count("champion")
    ahead = engine.answer(asked, engine.score(asked, Ahead(models["champion"].outputs(matrix))), Caller(request_id="r"))
    assert ahead == engine.predict(request(KEYS), principal=None, request_id="r")
    own = next(key for key in KEYS if Shares(VARIANTS).choose(key) == "c")
    assert engine.matrix(engine.ask(request([own]))) is None


def test_a_rankings_group_is_ranked_by_one_variant(make, only_given, deployment):
    engine, _ = make(group="search")
    rows = [{**row, "search": f"q{place % 9}"} for place, row in enumerate(request(KEYS))]
    found = engine.predict(rows, principal=None)
    assert {one.variant for one in found} == {"champion", "c", "b"}
    for group in {one.group for one in found}:
        members = [one for one in found if one.group == group]
        assert len({one.variant for one in members}) == 1
        assert sorted(one.position for one in members) == list(range(1, len(members) + 1))


def test_no_part_is_slower_for_what_another_did(make):
    engine, models = make(variants=VARIANTS[:1])

    def slowly(matrix):
        end = perf() + 0.05
        while perf() < end:
            pass
        return np.full(len(matrix), 0.5)

    models["c"].outputs = slowly
    asked = engine.ask(request(KEYS))
    found = engine.answer(asked, engine.score(asked), Caller(arrived=perf()))
    took = {block.maker.variant: block.origins[0].latency_ms for block in found.blocks}
    assert took["c"] - took["champion"] > 40


def test_a_shadow_is_logged_apart_under_the_ids_of_the_answers(make, tmp_path):
    engine, models = make()
    asked = engine.ask(request(KEYS))
    found = engine.answer(asked, engine.score(asked), Caller("gate"))
    assert "s" not in {one.variant for one in found}
    ids = found.column("prediction_id")
    block = engine.shadow(asked.taken([3, 1]), "s", [ids[3], ids[1]], Caller("gate"))
    assert (block.maker.shadow, block.maker.variant, block.maker.model_version) == (True, "s", 7)
    assert block.key == ["k3", "k1"]
    assert models["s"].weight == 4e-3
    assert block.column("score")[0] == pytest.approx(1 / (1 + np.exp(-4e-3 * (121.0 + 0 + 1.5))))
    spool = Spool(tmp_path / "spool", fsync=False)
    spool.append([encode(one) for one in (*found.blocks, block)])
    spool.close()
    tables = Tables(tmp_path / "tables", durable=False)
    ship(tmp_path / "spool", tables)
    answered = tables.open(prediction_table("flights", "late_arrival")).read()
    shadowed = tables.open(prediction_table("flights", "late_arrival", shadow=True)).read()
    assert sorted(answered["_key"]) == sorted(KEYS)
    assert shadowed.select("_key", "prediction_id", "variant").rows() == [("k3", ids[3], "s"), ("k1", ids[1], "s")]
    assert shadowed.columns == answered.columns
    assert (
        prediction_frame([block])
        .drop("latency_ms")
        .equals(shadowed.drop("latency_ms").select(prediction_frame([block]).drop("latency_ms").columns))
    )
