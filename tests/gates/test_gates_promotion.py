import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression

from loopline.errors import Conflict, LooplineError, NotFound, Unavailable
from loopline.evaluation.kind import Output
from loopline.gates.promotion import CHAMPION, previous_champion, promote, roll_back
from loopline.gates.smoke import smoke_test
from loopline.ledger import chain
from loopline.models import registry
from loopline.models.packaging import package
from loopline.models.predictor import Predictor
from loopline.models.runtimes.onnx import OnnxModel
from loopline.models.signature import infer
from loopline.storage.artifacts import open_artifacts
from loopline.storage.database import Database, Transaction

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MODEL = {"project": "flights", "model": "late"}


def registered(tx: Transaction, count: int, model: str = "late") -> None:
    for number in range(1, count + 1):
        registry.register_version(
            tx,
            project="flights",
            model=model,
            package=f"sha256:{number}",
            envelope="sha256:e",
            run_id=None,
            lineage={},
            metrics={},
            at=T0,
            cause=f"c{number}",
            created_by="retrain",
        )


def promoted(tx: Transaction, version: int, *, days: int = 0, key: str = "", **changes) -> int | None:
    given = {"actor": "loop", "evidence": {"cause": "harm"}} | changes
    return promote(tx, **MODEL, version=version, at=T0 + days * DAY, key=key or f"p{version}", **given)


def rolled_back(tx: Transaction, *, days: int = 9, key: str = "r", to: int | None = None) -> tuple[int, int]:
    return roll_back(tx, **MODEL, actor="ann", at=T0 + days * DAY, evidence={"cause": "worse"}, key=key, to=to)


def champion(tx: Transaction) -> int | None:
    return registry.alias(tx, "flights", "late", CHAMPION)


def story(tx: Transaction) -> list[tuple[str, int, int | None]]:
    return [(entry.kind, entry.body["version"], entry.body["replaces"]) for entry in chain.entries(tx, "flights")]


def test_promotions_move_the_alias_and_are_told(database: Database):
    with database.transaction() as tx:
        registered(tx, 2)
        assert [promoted(tx, 1), promoted(tx, 2, days=1, evidence={"verdicts": [1.5]})] == [None, 1]
    with database.reading() as tx:
        assert champion(tx) == 2
        assert story(tx) == [("promotion", 1, None), ("promotion", 2, 1)]
        entry = chain.entries(tx, "flights")[-1]
        assert (entry.actor, entry.subject, entry.at) == ("loop", "late:2", T0 + DAY)
        assert entry.body == {"model": "late", "version": 2, "replaces": 1, "evidence": {"verdicts": [1.5]}}
        chain.verify(tx, "flights")


def test_alias_and_entry_commit_together_or_not_at_all(database: Database):
    def fail() -> None:
        with database.transaction() as tx:
            promoted(tx, 1)
            raise RuntimeError

    with database.transaction() as tx:
        registered(tx, 1)
    with pytest.raises(RuntimeError):
        fail()
    with database.reading() as tx:
        assert (champion(tx), story(tx)) == (None, [])


def test_promoting_again_with_its_key_changes_nothing(database: Database):
    with database.transaction() as tx:
        registered(tx, 3)
        promoted(tx, 1)
        promoted(tx, 2, days=1)
    with database.transaction() as tx:
        assert promoted(tx, 2, days=2) == 1
        promoted(tx, 3, days=3)
        assert promoted(tx, 2, days=4) == 1
    with database.reading() as tx:
        assert champion(tx) == 3
        assert [version for _, version, _ in story(tx)] == [1, 2, 3]


def test_a_key_is_for_one_promotion(database: Database):
    def reuse() -> None:
        with database.transaction() as tx:
            promoted(tx, 2, key="p1")

    with database.transaction() as tx:
        registered(tx, 2)
        promoted(tx, 1)
    with pytest.raises(Conflict) as caught:
        reuse()
    assert caught.value.code == "ledger.key_reused"
    with database.reading() as tx:
        assert champion(tx) == 1


def test_unknown_versions_are_refused(database: Database):
    with database.transaction() as tx:
        registered(tx, 1)
        promoted(tx, 1)
        for attempt in (lambda: promoted(tx, 2), lambda: rolled_back(tx, to=7)):
            with pytest.raises(NotFound) as caught:
                attempt()
            assert caught.value.code == "model.version_not_found"
        assert (champion(tx), len(story(tx))) == (1, 1)


def test_a_rollback_brings_back_the_champion_before(database: Database):
    with database.transaction() as tx:
        registered(tx, 3)
        for days, version in enumerate([1, 3, 2]):
            promoted(tx, version, days=days)
        assert previous_champion(tx, **MODEL) == 3
        assert rolled_back(tx) == (2, 3)
    with database.reading() as tx:
        assert champion(tx) == 3
        assert story(tx)[-1] == ("rollback", 3, 2)
        changes = registry.alias_history(tx, "flights", "late", CHAMPION)
        assert [(change.version, change.from_at) for change in changes] == [
            (1, T0),
            (3, T0 + DAY),
            (2, T0 + 2 * DAY),
            (3, T0 + 9 * DAY),
        ]
        asked = {days: registry.alias(tx, "flights", "late", CHAMPION, at=T0 + days * DAY) for days in (-1, 0, 1, 5, 9)}
    assert asked == {-1: None, 0: 1, 1: 3, 5: 2, 9: 3}


def test_rolling_back_again_with_its_key_changes_nothing(database: Database):
    with database.transaction() as tx:
        registered(tx, 2)
        promoted(tx, 1)
        promoted(tx, 2, days=1)
        rolled_back(tx)
    with database.transaction() as tx:
        assert rolled_back(tx, days=10) == (2, 1)
        assert rolled_back(tx, days=10, to=1) == (2, 1)
        assert (champion(tx), len(story(tx))) == (1, 3)
        with pytest.raises(Conflict):
            rolled_back(tx, days=10, to=2)


def test_a_rollback_can_name_its_target(database: Database):
    with database.transaction() as tx:
        registered(tx, 3)
        for days, version in enumerate([1, 2, 3]):
            promoted(tx, version, days=days)
        assert rolled_back(tx, to=1) == (3, 1)
        assert previous_champion(tx, **MODEL) == 3


def test_rollbacks_that_lead_nowhere_are_refused(database: Database):
    with database.transaction() as tx:
        registered(tx, 2)
        refused = [code_of(lambda: rolled_back(tx)), code_of(lambda: rolled_back(tx, to=1))]
        promoted(tx, 1)
        refused += [code_of(lambda: rolled_back(tx)), code_of(lambda: rolled_back(tx, to=1))]
        assert refused == [
            "rollback.no_champion",
            "rollback.no_champion",
            "rollback.no_earlier",
            "rollback.serves_already",
        ]
        assert (champion(tx), len(story(tx))) == (1, 1)


def test_models_do_not_share_their_champions(database: Database):
    with database.transaction() as tx:
        registered(tx, 2)
        registered(tx, 1, model="cancelled")
        promoted(tx, 1)
        promoted(tx, 2, days=1)
        at = T0 + 2 * DAY
        promote(
            tx, project="flights", model="cancelled", version=1, actor="loop", at=at, evidence={}, key="cancelled:p1"
        )
        assert previous_champion(tx, project="flights", model="cancelled") is None
        assert previous_champion(tx, **MODEL) == 1


def test_two_who_roll_back_at_once_roll_back_once_each(database: Database):
    """Whoever comes second finds the first one's champion: it is never replaced by itself."""
    with database.transaction() as tx:
        registered(tx, 2)
        promoted(tx, 1)
        promoted(tx, 2, days=1)
    gone: list[tuple[int, int]] = []

    def work(key: str) -> None:
        with database.transaction() as tx:
            gone.append(rolled_back(tx, key=key))

    threads = [threading.Thread(target=work, args=(key,)) for key in ("a", "b", "a")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as tx:
        moved = [(before, version) for kind, version, before in story(tx) if kind == "rollback"]
    assert moved == [(2, 1), (1, 2)]
    assert sorted(set(gone)) == [(1, 2), (2, 1)]


class Scores:
    """A predictor that gives what it is told to."""

    def __init__(self, *scores: float) -> None:
        self.signature = SimpleNamespace(fields=[None, None, None], output=Output())
        self.package = SimpleNamespace(takes_missing=True)
        self._scores = np.asarray(scores)

    def outputs(self, rows: np.ndarray) -> np.ndarray:
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, [[0, 0, 0], [np.nan, np.nan, np.nan]])
        return self._scores


@pytest.mark.parametrize("scores", [(0.5, float("nan")), (1.2, 0.5), (-0.1, 0.5), (float("inf"), 0.5)])
def test_the_smoke_test_refuses_what_is_no_probability(scores):
    with pytest.raises(Unavailable) as caught:
        smoke_test(Scores(*scores))  # type: ignore[arg-type]
    assert caught.value.code == "rollback.smoke_test_failed"


def test_the_smoke_test_lets_probabilities_pass():
    smoke_test(Scores(0.0, 1.0))  # type: ignore[arg-type]


def test_a_model_that_takes_no_missing_values_passes_without(tmp_path: Path):
    frame = pl.DataFrame({"a": np.linspace(-1, 1, 80), "b": np.cos(np.arange(80))})
    label = (frame["a"] > 0).to_numpy().astype(np.float64)
    signature, artifacts = infer(frame, label, {"a"}), open_artifacts(str(tmp_path), durable=False)
    rows = signature.encode(frame)
    packaged = package(LogisticRegression().fit(rows, label), signature, rows, calibrator=None, artifacts=artifacts)
    predictor = Predictor(packaged, [OnnxModel(artifacts.get(packaged.models[0]))])
    assert not packaged.takes_missing
    smoke_test(predictor)


def code_of(attempt) -> str:
    with pytest.raises(LooplineError) as caught:
        attempt()
    return caught.value.code
