"""A replay that dies between any two of its transactions, over and over, comes to the ledger of one that never died."""

import random
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loopline.app.replays import run_replay
from loopline.config import Settings
from loopline.loop.load import load_loop
from loopline.loop.replay import Period
from loopline.storage.database import Database

LOOP = Path(__file__).parents[1] / "e2e" / "tiny_loop.py"
START = datetime(2024, 1, 1, tzinfo=UTC)
FIRST_MODEL, SECOND_HARM = datetime(2024, 1, 17, tzinfo=UTC), datetime(2024, 2, 18, tzinfo=UTC)


class Killed(BaseException):
    """Nothing in the code expects it."""


class Life:
    """So many transactions are committed; then whatever would begin another dies, or what comes after the last dies at once."""

    def __init__(self, monkeypatch, commits: int, *, at_once: bool) -> None:
        self.left, self.at_once = commits, at_once
        real = Database.transaction

        @contextmanager
        def transaction(database):
            if self.left <= 0:
                raise Killed
            with real(database) as tx:
                yield tx
            self.left -= 1
            if self.left <= 0 and self.at_once:
                raise Killed

        monkeypatch.setattr(Database, "transaction", transaction)


def ledgers(home: Path, until: datetime) -> dict[str, str]:
    loop = load_loop(LOOP)
    settings = Settings.read(home, environment={"LOOPLINE_DURABLE": "0"})
    [result] = run_replay(settings, loop, Period(START, until), seed=0, progress=lambda *_: None)
    return {policy.policy: policy.ledger for policy in result.comparison.policies}


def ledgers_of_many_lives(home: Path, until: datetime, seed: int) -> tuple[dict[str, str], int]:
    """The ledgers, and how many died before them. A life does again what the one before had not noted, so that short ones alone
    would never train a model; the first ones grow slowly, so that each transaction of the start is the last of one.
    """
    rng, deaths = random.Random(seed), 0
    while True:
        commits = deaths // 2 + 1 if deaths < 10 else rng.choice([1, 2, 3, 5, 20])
        with pytest.MonkeyPatch.context() as patch:
            Life(patch, commits, at_once=rng.random() < 0.5)
            try:
                return ledgers(home, until), deaths
            except Killed:
                deaths += 1


def test_dead_between_any_two_transactions_it_ends_with_the_same_ledger(tmp_path):
    found, deaths = ledgers_of_many_lives(tmp_path / "killed", FIRST_MODEL, seed=5)
    assert found == ledgers(tmp_path / "whole", FIRST_MODEL)
    assert deaths > 20


@pytest.mark.heavy
def test_so_it_does_through_harm_and_retraining(tmp_path):
    expected = ledgers(tmp_path / "whole", SECOND_HARM)
    for seed in range(10):
        found, deaths = ledgers_of_many_lives(tmp_path / f"killed-{seed}", SECOND_HARM, seed)
        assert (seed, found) == (seed, expected)
        assert deaths > 50
