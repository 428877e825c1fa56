"""Requests that are answered together get what each would have got alone, and the log says whose each was."""

import asyncio
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopline.clock import ReplayClock
from loopline.errors import LooplineError, Unavailable
from loopline.models.contract_terms import ContractTerms
from loopline.models.manifest import Deployment, Variant
from loopline.models.signature import Field, Signature
from loopline.scoring.asked import Caller
from loopline.scoring.block import Predictions, decode
from loopline.scoring.columns import Columns
from loopline.scoring.engine import Engine
from loopline.scoring.segment import read_segment
from loopline.scoring.spool import Spool
from loopline.scoring.spool_folder import SEALED
from loopline.server.scoring.batcher import Batchers
from loopline.server.scoring.group_commit import GroupCommit
from loopline.server.scoring.metrics import Metrics
from loopline.server.scoring.predicting import Predicting
from loopline.server.scoring.together import LARGEST, MOST_ROWS, Together
from loopline.server.scoring.unloaded import Unloaded

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
NUMBERS = tuple(
    Field(name=name, kind="number", given=True, minimum=-10.0, maximum=10.0, nulls=name == "y", typical=2.0)
    for name in "xyz"
)
TEXT = Field(name="c", kind="category", given=True, categories=("a", "b"), nulls=False, typical="a")
DECISION = {
    "type": "threshold",
    "false_positive": 1.0,
    "false_negative": 1.0,
    "review": 0.5,
    "threshold": 0.5,
    "abstain_low": 0.45,
    "abstain_high": 0.55,
}


class Sum:
    """Scores a logistic of the sum; takes no 7. Keeps the sizes of its calls."""

    def __init__(self, signature):
        self.signature = signature
        self.calls = []

    def outputs(self, matrix):
        self.calls.append(len(matrix))
        if (matrix == 7).any():
            raise ValueError("no sevens")
        return 1 / (1 + np.exp(-np.nan_to_num(matrix.astype(np.float64)).sum(axis=1)))


def engine_of(signature, **more):
    deployment = Deployment(
        endpoint="e",
        model="m",
        version=4,
        package="p",
        package_envelope="e",
        decision=DECISION,
        decision_version=2,
        views=[],
        key="id",
        at="at",
        fills=True,
        contract=ContractTerms(out_of_range="refuse", unseen_category="impute"),
        **more,
    )
    return Engine("p", deployment, Sum(signature), clock=ReplayClock(AT), instance="spool:1")


class Site:
    """The parts of a worker that answer."""

    def __init__(self, folder, *, fsync=False):
        self.spool = Spool(folder, fsync=fsync)
        self.metrics = Metrics()
        self.unloaded = Unloaded()
        commit = GroupCommit(self.spool, fsync=fsync)
        self.predicting = Predicting(commit, self.metrics, Batchers(), self.unloaded)
        self.together = Together(self.predicting, Predictions.each)

    def blocks(self):
        self.spool.close()
        segments = [self.spool.folder.segment(number, SEALED) for number in self.spool.folder.numbers(SEALED)]
        return [decode(payload) for segment in segments for payload in read_segment(segment)]

    async def all(self, engine, asked):
        """What each gets who asks in this turn of the loop."""
        found = [asyncio.get_running_loop().create_future() for _ in asked]
        for place, (rows, caller) in enumerate(asked):
            assert self.together.takes(engine, rows, caller)
            self.together.predict(engine, rows, caller).then(found[place].set_result)
        return await asyncio.gather(*found)


def typed(rows, signature):
    names = ["id", "at", *signature.names]
    return Columns({name: [row.get(name) for row in rows] for name in names}, len(rows), typed=True)


def told(found):
    """What is the same whoever asks with whom: all but ids and times."""
    if isinstance(found, LooplineError):
        return found.code, found.message
    return [
        (one.key, one.at, one.score, one.decision, one.action, one.degraded, one.variant, one.model_version)
        for one in found
    ]


cells = st.integers(-10, 10).map(float) | st.sampled_from([7.0, 11.0, None, float("inf"), 0.25])
rows = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["k1", "k2", "k3", ""]) | st.text(min_size=1, max_size=3),
        "at": st.sampled_from(["2026-05-01T10:00:00Z", 1_777_000_000_000_000, None, "yesterday"]),
        "x": cells,
        "y": cells,
        "z": cells,
        "c": st.sampled_from(["a", "b", "other", None]),
    }
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(rows, min_size=1, max_size=4), min_size=1, max_size=12))
def test_what_a_caller_gets_does_not_depend_on_who_else_asks(tmp_path_factory, requests):
    signature = Signature(fields=(*NUMBERS, TEXT))
    site, alone = (Site(tmp_path_factory.mktemp("spool")) for _ in range(2))
    engine, other = engine_of(signature), engine_of(signature)
    asked = [
        (
            typed([dict(row, id=row["id"] or f"own-{place}") for row in one], signature),
            Caller(f"caller{place}", None, 0.0),
        )
        for place, one in enumerate(requests)
    ]
    expected = []
    for columns, caller in asked:
        try:
            expected.append(told(alone.predicting.predict(other, Columns(columns, columns.count, typed=True), caller)))
        except LooplineError as error:
            expected.append(told(error))
    found = asyncio.run(site.all(engine, asked))
    assert [told(one) for one in found] == expected
    logged = {one.prediction_id: one for block in site.blocks() for one in (block.row(n) for n in range(len(block)))}
    answered = [(place, one) for place, given in enumerate(found) if not isinstance(given, Exception) for one in given]
    assert len(logged) == len(answered)
    for place, one in answered:
        kept = logged[one.prediction_id]
        assert (kept.principal, kept.key, kept.score, kept.degraded) == (
            f"caller{place}",
            one.key,
            one.score,
            one.degraded,
        )
        assert kept.latency_ms > 0
    mine = [{"x": row["x"], "y": row["y"], "z": row["z"]} for given, one in zip(found, requests, strict=True) for row in one if not isinstance(given, Exception)]  # fmt: skip
    assert [logged[one.prediction_id].numbers for _, one in answered] == mine


def test_one_turn_is_one_call_of_the_model_and_one_frame_of_the_log(tmp_path):
    signature = Signature(fields=NUMBERS)
    site, engine = Site(tmp_path), engine_of(signature)
    asked = [(typed([{"x": float(n), "y": 1.0, "z": 0.5}], signature), Caller(f"c{n}", None, 0.0)) for n in range(5)]
    found = asyncio.run(site.all(engine, asked))
    assert engine.ladder.rungs[0].scorer.calls == [5]
    assert len({one[0].prediction_id for one in found}) == 5
    [block] = site.blocks()
    assert [one.principal for one in block.origins] == ["c0", "c1", "c2", "c3", "c4"]
    assert 'predictions_total{endpoint="e",variant="champion"} 5' in site.metrics.exposition()


def test_matrices_are_answered_together_too(tmp_path):
    signature = Signature(fields=NUMBERS)
    site, engine = Site(tmp_path), engine_of(signature)
    matrices = [np.arange(3 * n, dtype=np.float32).reshape(n, 3) / 10 for n in (1, 2, 3)]
    asked = [
        (
            Columns({name: one[:, place] for place, name in enumerate("xyz")}, len(one), matrix=(tuple("xyz"), one)),
            Caller(),
        )
        for one in matrices
    ]
    found = asyncio.run(site.all(engine, asked))
    assert engine.ladder.rungs[0].scorer.calls == [6]
    for one, matrix in zip(found, matrices, strict=True):
        assert one.column("score") == pytest.approx(1 / (1 + np.exp(-matrix.sum(axis=1))), abs=1e-6)


def test_nobody_waits_for_more_rows_than_are_answered_together(tmp_path):
    signature = Signature(fields=NUMBERS)
    site, engine = Site(tmp_path), engine_of(signature)
    one = [{"x": 1.0, "y": 1.0, "z": 1.0}] * LARGEST
    asked = [(typed(one, signature), Caller()) for _ in range(20)]
    asyncio.run(site.all(engine, asked))
    calls = engine.ladder.rungs[0].scorer.calls
    assert sum(calls) == 20 * LARGEST
    assert max(calls) == MOST_ROWS


def test_who_has_a_deadline_or_ids_or_many_rows_or_no_company_is_answered_alone(tmp_path):
    signature = Signature(fields=NUMBERS)
    site, engine = Site(tmp_path), engine_of(signature)
    rows = typed([{"x": 1.0, "y": 1.0, "z": 1.0}], signature)
    many = typed([{"x": 1.0, "y": 1.0, "z": 1.0}] * (LARGEST + 1), signature)
    assert site.together.takes(engine, rows, Caller())
    for columns, caller in (
        (rows, Caller(deadline=1.0)),
        (rows, Caller(request_id="r")),
        (rows, Caller(alone=True)),
        (many, Caller()),
        (Columns(rows, 1), Caller()),
    ):
        assert not site.together.takes(engine, columns, caller)
    shared = engine_of(signature, variants=(Variant(name="v", role="canary", served=None, share=0.5, salt="s"),))
    assert not site.together.takes(shared, rows, Caller())


def test_a_synced_log_is_waited_for_and_an_unloaded_endpoint_refuses(tmp_path):
    signature = Signature(fields=NUMBERS)
    site, engine = Site(tmp_path, fsync=True), engine_of(signature)
    asked = [(typed([{"x": float(n), "y": 1.0, "z": 0.5}], signature), Caller(f"c{n}", None, 0.0)) for n in range(3)]
    found = asyncio.run(site.all(engine, asked))
    assert [len(one) for one in found] == [1, 1, 1]
    site.unloaded.unload("e", "ops")
    with pytest.raises(Unavailable) as caught:
        asyncio.run(site.all(engine, asked))
    assert caught.value.code == "scoring.unloaded"
    assert sum(map(len, site.blocks())) == 3


def test_what_fails_on_the_way_to_the_answer_is_what_the_caller_gets(tmp_path):
    signature = Signature(fields=NUMBERS)
    site, engine = Site(tmp_path), engine_of(signature)
    rows = typed([{"x": 1.0, "y": 1.0, "z": 0.5}], signature)
    got = []

    def fails(_):
        raise ValueError("no answer of it")

    def untold(_):
        raise KeyError("none at all")

    async def run(together, steps):
        for one in steps:
            later = together.predict(engine, Columns(rows, 1, typed=True), Caller())
            (later.then(one) if one else later).then(got.append)
        await asyncio.sleep(0.01)

    asyncio.run(run(site.together, [None, fails, None]))
    assert [type(one) for one in got] == [Predictions, ValueError, Predictions]
    got.clear()
    asyncio.run(run(Together(site.predicting, untold), [None, None]))
    assert [type(one) for one in got] == [KeyError, KeyError]
