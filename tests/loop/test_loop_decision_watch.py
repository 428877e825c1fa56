"""The decision watched apart from the model: its own evidence, its own alarm, its own way back."""

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from loopline.app.home import open_home
from loopline.app.work import lane_works
from loopline.clock import ReplayClock
from loopline.config import Settings
from loopline.decisions.policy import costs, fit
from loopline.errors import DeclarationError
from loopline.evaluation.kind import BINARY
from loopline.gates.promotion import CHAMPION
from loopline.incidents import incident
from loopline.ledger import chain
from loopline.loop.decide import Asked, decide
from loopline.loop.due import Due
from loopline.loop.history import History
from loopline.loop.ingestion import ingest_until
from loopline.loop.load import load_loop
from loopline.loop.plan import apply
from loopline.loop.turn import run_turn
from loopline.models import decision_versions, registry
from loopline.monitoring.decision_cost import cost_blocks
from loopline.monitoring.risk import Risk
from loopline.monitoring.watch import find_monitor
from loopline.values import Window

SHOP = """
from datetime import UTC, datetime, timedelta
import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression
import loopline as ll

loop = ll.Loop("shop")
START, DAYS, EACH = datetime(2026, 1, 1, tzinfo=UTC), 60, 60

def made():
    rng = np.random.default_rng(5)
    n = DAYS * EACH
    x = np.where(np.arange(n) < 30 * EACH, rng.normal(size=n), rng.normal(-0.1, 0.2, size=n))
    at = [START + i * timedelta(days=1) / EACH + timedelta(minutes=1) for i in range(n)]
    return pl.DataFrame(dict(order=[f"o{i:05}" for i in range(n)], at=at, x=x,
        back=(rng.random(n) < 1 / (1 + np.exp(-2 * x))), told=[one + timedelta(hours=12) for one in at]))

ALL = made()

@loop.source(key="order", event_time="at", known_at="at")
def orders(window: ll.Window) -> pl.DataFrame:
    return ALL.filter(pl.col("at").is_between(window.start, window.end, closed="right")).select("order", "at", "x")

@loop.source(key="order", event_time="told", known_at="told")
def ends(window: ll.Window) -> pl.DataFrame:
    return ALL.filter(pl.col("told").is_between(window.start, window.end, closed="right")).select("order", "told", "back")

@loop.model(on=orders, at="at", features=["x"], holdout="10d", fallback=0.4,
    label=ll.label(ends, pl.col("back"), matures="1d"))
def returns(train: ll.TrainingSet, params: dict) -> LogisticRegression:
    return LogisticRegression().fit(train.X, train.y)

loop.operate(returns, decide=ll.costs(false_positive=1, false_negative=3), promote=[],
    watch=ll.Risk("log_loss", tolerance=1.0, block="1d", false_pages_per_year=1, min_rows=10),
    watch_decision=ll.Risk("{loss}", tolerance=0.05, block="1d", false_pages_per_year=12, min_rows=10, baseline="none"),
    respond=[ll.on(ll.decision_harm & ll.previous_decision_is_cheaper, ll.roll_back_decision)],
    first_after="20d")
"""


@pytest.fixture
def shop(tmp_path: Path) -> Callable:
    """A loop that is turned a day at a time; gives its resources and a function that turns it."""
    path = tmp_path / "shop.py"
    path.write_text(SHOP.replace("{loss}", "cost"))
    loop = load_loop(path)
    start = sys.modules["loopline_loop_shop"].START
    settings = Settings.read(tmp_path / "home", environment={"LOOPLINE_DURABLE": "0"})
    resources = open_home(settings, clock=ReplayClock(start), seed=1, silent=True)
    apply(resources.database, loop, actor="ann", at=start)
    history = History(resources.tables)
    (work,) = lane_works(resources, loop, history, compare=False)
    due, turned = Due(history), [0]

    def turn(days: int) -> None:
        for _ in range(days):
            begin = start + timedelta(days=turned[0])
            turned[0] += 1
            window = Window(begin, begin + timedelta(days=1))
            resources.clock.turn_to(window.end)
            ingest_until(resources, loop, window.end, begin=start)
            run_turn(work, number=turned[0], window=window, due=due.rows(work.lane, window))

    yield resources, turn
    resources.database.close()


def standing(resources) -> tuple[int | None, int | None, list[str]]:
    """The champion, the decision in force and the kinds of open incidents."""
    with resources.database.reading() as tx:
        current = decision_versions.current_decision(tx, "shop", "returns")
        opened = [one.kind for one in incident.find(tx, "shop", only_open=True)]
        return registry.alias(tx, "shop", "returns", CHAMPION), current.version if current else None, opened


def test_a_decision_that_turns_out_dear_is_taken_back_and_the_model_stays(shop):
    """From day 30 on most orders are doubtful: not acting on them costs far more than on the rows the threshold was judged on."""
    resources, turn = shop
    turn(24)
    assert standing(resources) == (1, 1, [])
    decide(resources, project="shop", model="returns", asked=Asked(threshold=0.6), actor="ann", reason="a trial")
    turn(5)
    assert standing(resources) == (1, 2, [])
    turn(14)
    assert standing(resources) == (1, 1, [])
    with resources.database.reading() as tx:
        (alarmed,) = [one for one in incident.find(tx, "shop") if one.kind == "decision_harm"]
        (back,) = chain.entries(tx, "shop", kind="decision.rolled_back")
        promotions = chain.entries(tx, "shop", kind="promotion")
    assert alarmed.state == "resolved"
    assert "the cost lies" in alarmed.sentence
    assert (back.actor, back.body["decision"], back.body["replaces"]) == ("loop", 1, 2)
    assert "the earlier decision is cheaper" in back.body["evidence"]["cause"]
    assert len(promotions) == 1


def test_each_decision_has_evidence_of_its_own(shop):
    resources, turn = shop
    turn(28)
    with resources.database.reading() as tx:
        first = find_monitor(tx, "shop", "returns", "decision:1")
    assert first.state.blocks > 3
    decide(resources, project="shop", model="returns", asked=Asked(false_negative=4), actor="ann", reason="a trial")
    turn(4)
    with resources.database.reading() as tx:
        again, second = (find_monitor(tx, "shop", "returns", f"decision:{number}") for number in (1, 2))
    assert again.state == first.state
    assert second.reference != first.reference
    assert 0 < second.state.blocks <= 4


def test_blocks_cost_what_was_decided_and_compare_with_the_cheapest_action_in_hindsight():
    rng = np.random.default_rng(2)
    shape = 300
    at = pl.datetime_range(
        pl.datetime(2026, 1, 1, time_zone="UTC"), pl.datetime(2026, 1, 3, time_zone="UTC"), "10m", eager=True
    ).cast(pl.Datetime("us", "UTC"))[1:shape]
    score = rng.random(len(at))
    label = (rng.random(len(at)) < score).astype(float)
    decision = fit(costs(1, 3), score)
    taken = decision.decide(score)
    frame = pl.DataFrame({"at": at, "score": score, "label": label, "decision": taken, "model_version": 1})
    risk = Risk("cost", tolerance=0.05, block="1d", baseline="base_rate", min_rows=10)
    blocks = cost_blocks(frame, risk, decision, ("positive", "negative"), BINARY)
    day = at.dt.offset_by("-1us").dt.date()
    for block, date in zip(blocks, day.unique().sort(), strict=True):
        inside = (day == date).to_numpy()
        y, did = label[inside], taken[inside]
        paid = np.where(did == "positive", 1 - y, 3 * y)
        assert block.loss == pytest.approx(paid.sum())
        assert block.constant == pytest.approx(min((1 - y).sum(), 3 * y.sum()))
        assert block.excess(risk) == pytest.approx(paid.mean() - min((1 - y).mean(), 3 * y.mean()))


def test_only_a_cost_can_be_watched_of_a_decision(tmp_path):
    path = tmp_path / "other.py"
    path.write_text(SHOP.replace("{loss}", "log_loss"))
    with pytest.raises(DeclarationError, match="what decisions cost"):
        load_loop(path)
