"""Groups are told by columns of the rows a model answers for, kept out of its matrix, compared in training, and gated."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import numpy as np
import polars as pl
import pytest

from loopline.errors import DeclarationError, InvalidInput, NotFound
from loopline.evaluation.bias import BIAS, bias
from loopline.evaluation.held_out import HELD_OUT, HeldOut
from loopline.evaluation.intervals import mean_by_block
from loopline.evaluation.losses import log_loss
from loopline.gates.fair import fair
from loopline.incidents.actions import Cause
from loopline.loop.bias import version_bias
from loopline.loop.decision_reference import REFERENCE, DecisionReference
from loopline.loop.deployment import Predictors
from loopline.loop.history import History
from loopline.loop.lane import lanes
from loopline.loop.retrain import prepare_retrain
from loopline.models import registry
from loopline.runs import tracking

FAR = (pl.col("way") > 2).alias("far")


def retrained(resources, loop, **changes):
    """A version of the loop's own lane, trained now, and the outcome."""
    lane = lanes(loop, seed=7, compare=False)[0]
    promote = changes.pop("promote", lane.operation.promote)
    model = replace(lane.operation.model, **changes)
    lane = replace(lane, operation=replace(lane.operation, model=model, promote=promote))
    cause = Cause(key="late:retrain:test", sentence="a test", actor="test", at=resources.clock.now())
    prepared = prepare_retrain(resources, lane, History(resources.tables), Predictors(resources), cause)
    with resources.database.transaction() as tx:
        outcome = prepared.commit(tx)
        return registry.versions(tx, lane.project, lane.model)[-1], outcome


def test_groups_are_compared_in_training_and_stay_out_of_the_matrix(copied, small_loop):
    version, outcome = retrained(
        copied,
        small_loop,
        bias=bias(by=["carrier", FAR], min_rows=20),
        promote=(fair("selection_rate", by="far", at_most=0.1, min_rows=20),),
    )
    found = version_bias(copied, "parcels", "late", version.version)
    assert [one.by for one in found.groupings] == [("carrier",), ("far",), ("carrier", "far")]
    assert {group.name for group in found.groupings[1].groups} == {"far=true", "far=false"}
    with copied.database.reading() as tx:
        assert tracking.get(tx, version.run_id).artifacts[BIAS] == version.lineage[BIAS]
    predictor = Predictors(copied).load(version.package, version.envelope)
    assert "far" not in predictor.signature.names
    gap = found.groupings[1].disparities["selection_rate"].gap
    assert gap.difference > 0.3  # far parcels are late, and said to be
    assert not outcome.changed
    assert f"{gap.larger} lies {gap.difference:+.4f}" in outcome.sentence


def test_what_held_out_rows_showed_is_kept_with_the_version(copied, small_loop):
    version, _ = retrained(copied, small_loop)
    told = msgspec.json.decode(copied.artifacts.get(version.lineage[HELD_OUT]), type=HeldOut)
    kept = msgspec.msgpack.decode(copied.artifacts.get(version.lineage[REFERENCE]), type=DecisionReference)
    scores, labels = np.array(kept.held_out), np.array(kept.labels)
    assert told.rows == len(scores)
    assert told.losses["log_loss"].mean == pytest.approx(log_loss(scores, labels).mean())
    assert told.losses["log_loss"].mean == pytest.approx(version.metrics["holdout_log_loss"])
    rate = labels.mean()
    assert told.constants["brier"] == pytest.approx(rate * (1 - rate))
    assert told.losses["brier"].lower is not None
    assert told.losses["brier"].upper == pytest.approx(
        mean_by_block((scores - labels) ** 2, (np.array(kept.blocks))).upper, rel=0.3
    )
    assert sum(told.decisions.values()) == pytest.approx(1)
    assert told.reliability is not None
    assert sum(one.rows for one in told.reliability.bins) == told.rows
    assert BIAS not in version.lineage
    with pytest.raises(NotFound, match=r"bias\.not_measured"):
        version_bias(copied, "parcels", "late", version.version)


def test_a_column_that_is_not_there_is_named(copied, small_loop):
    with pytest.raises(InvalidInput, match=r"bias\.unknown_column"):
        retrained(copied, small_loop, bias=bias(by=["sex"]))


LOOP = """
import polars as pl
import loopline as ll
loop = ll.Loop("x")
@loop.source(key="k", event_time="t", known_at="t")
def s(window): ...
"""


def test_mistakes_of_a_declaration(refused: Callable[[str], DeclarationError]):
    model = 'on=s, at="t", features=["a"], label=ll.label(s, pl.col("y"), matures="1d")'
    taken = f'{LOOP}@loop.model({model}, bias=ll.bias(by=[(pl.col("b") > 1).alias("a")]))  # here\ndef m(train, params): ...\n'
    assert refused(taken).code == "model.group_taken"
    unknown = (
        f"{LOOP}@loop.model({model})\ndef m(train, params): ...\n"
        'loop.operate(m, decide=ll.costs(1, 1), promote=[ll.fair("selection_rate", by="sex", at_most=0.1)], '
        'watch=ll.Risk("log_loss", tolerance=0.1, block="1d", false_pages_per_year=1))  # here\n'
    )
    assert refused(unknown).code == "operate.unknown_group"
