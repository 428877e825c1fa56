import threading
from datetime import UTC, datetime, timedelta

import pytest

from loopline.errors import InvalidInput, NotFound
from loopline.models import decision_versions, registry
from loopline.storage.database import Database, Transaction

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def register(tx: Transaction, cause: str, model: str = "late", project: str = "flights") -> registry.ModelVersion:
    return registry.register_version(
        tx,
        project=project,
        model=model,
        package=f"sha256:{cause}",
        envelope="sha256:e",
        run_id=f"run_{cause}",
        lineage={"tables": {"arrivals": 7}, "seed": 3},
        metrics={"log_loss": 0.45},
        at=T0,
        cause=cause,
        created_by="retrain",
    )


def test_versions_count_from_one_per_model(database: Database):
    with database.transaction() as tx:
        made = [register(tx, cause).version for cause in ("a", "b", "c")]
        other = register(tx, "a", model="other").version
        elsewhere = register(tx, "a", project="trains").version
    assert (made, other, elsewhere) == ([1, 2, 3], 1, 1)
    with database.reading() as tx:
        assert [version.package for version in registry.versions(tx, "flights", "late")] == [
            "sha256:a",
            "sha256:b",
            "sha256:c",
        ]
        assert registry.models(tx, "flights") == ["late", "other"]
        assert registry.versions(tx, "flights", "unknown") == []


def test_what_is_registered_is_read_back(database: Database):
    with database.transaction() as tx:
        made = register(tx, "a")
    with database.reading() as tx:
        found = registry.get_version(tx, "flights", "late", 1)
    assert found == made
    assert (found.created_at, found.lineage["tables"], found.run_id) == (T0, {"arrivals": 7}, "run_a")


def test_the_same_cause_makes_no_second_version(database: Database):
    with database.transaction() as tx:
        first = register(tx, "a")
    with database.transaction() as tx:
        assert register(tx, "a") == first
        assert register(tx, "b").version == 2


def test_eight_threads_get_eight_numbers(database: Database):
    def work(cause: str) -> None:
        with database.transaction() as tx:
            register(tx, cause)

    threads = [threading.Thread(target=work, args=(f"c{place % 6}",)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as tx:
        assert [version.version for version in registry.versions(tx, "flights", "late")] == list(range(1, 7))


def test_aliases_remember_what_was_champion_when(database: Database):
    moves = [(1, T0), (2, T0 + DAY), (2, T0 + 2 * DAY), (1, T0 + 3 * DAY), (None, T0 + 4 * DAY)]
    with database.transaction() as tx:
        register(tx, "a"), register(tx, "b")
        before = [
            registry.set_alias(tx, project="flights", model="late", alias="champion", version=version, at=at)
            for version, at in moves
        ]
    assert before == [None, 1, 2, 2, 1]
    with database.reading() as tx:

        def champion(at: datetime | None) -> int | None:
            return registry.alias(tx, "flights", "late", "champion", at=at)

        asked = [T0 - DAY, T0, T0 + DAY / 2, T0 + DAY, T0 + 2.5 * DAY, T0 + 3 * DAY, T0 + 9 * DAY, None]
        assert [champion(at) for at in asked] == [None, 1, 1, 2, 2, 1, None, None]
        assert registry.alias(tx, "flights", "late", "challenger") is None
        changes = registry.alias_history(tx, "flights", "late", "champion")
    assert [(change.version, change.from_at) for change in changes] == [moves[0], moves[1], moves[3], moves[4]]


def test_aliases_refuse_unknown_versions_and_the_past(database: Database):
    with database.transaction() as tx:
        register(tx, "a"), register(tx, "b")
        registry.set_alias(tx, project="flights", model="late", alias="champion", version=1, at=T0)
    with database.transaction() as tx:
        with pytest.raises(NotFound):
            registry.set_alias(tx, project="flights", model="late", alias="champion", version=3, at=T0)
        with pytest.raises(InvalidInput) as caught:
            registry.set_alias(tx, project="flights", model="late", alias="champion", version=2, at=T0 - DAY)
        assert caught.value.code == "model.alias_backwards"
        assert registry.alias(tx, "flights", "late", "champion") == 1


def test_what_rolls_back_leaves_nothing(database: Database):
    def fail_after_registering() -> None:
        with database.transaction() as tx:
            register(tx, "a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_registering()
    with database.reading() as tx:
        assert registry.models(tx, "flights") == []


def decide(tx: Transaction, threshold: float) -> int:
    return decision_versions.register_decision(
        tx,
        project="flights",
        model="late",
        body={"threshold": threshold},
        at=T0,
        cause=f"t{threshold}",
        created_by="ann",
    )


def test_decisions_are_versions_of_their_own(database: Database):
    with database.transaction() as tx:
        assert [decide(tx, 0.2), decide(tx, 0.3), decide(tx, 0.2)] == [1, 2, 1]
        assert decision_versions.current_decision(tx, "flights", "late") is None
        for version, at in [(1, T0), (2, T0 + DAY), (1, T0 + 2 * DAY)]:
            decision_versions.set_current_decision(tx, project="flights", model="late", version=version, at=at)
        with pytest.raises(NotFound):
            decision_versions.set_current_decision(tx, project="flights", model="late", version=9, at=T0 + 3 * DAY)
    with database.reading() as tx:

        def threshold(at: datetime | None = None) -> float:
            found = decision_versions.current_decision(tx, "flights", "late", at=at)
            assert found is not None
            return found.body["threshold"]

        assert [threshold(), threshold(T0), threshold(T0 + 1.5 * DAY)] == [0.2, 0.2, 0.3]
        assert [one.version for one in decision_versions.decisions(tx, "flights", "late")] == [1, 2]
        assert [one.version for one in decision_versions.decision_history(tx, "flights", "late")] == [1, 2, 1]
        assert registry.versions(tx, "flights", "late") == []
        assert registry.alias(tx, "flights", "late", "current") is None
