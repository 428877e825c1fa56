"""What the review queue must do on every database, also where a reviewer's process dies. Subclass `ReviewsSuite` and give it a fixture `database_url`."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
import sqlalchemy as sa

from loopline.access.erasure import Person, Target, Traces
from loopline.errors import Conflict, LooplineError, NotFound
from loopline.labels.review import erasure, queue
from loopline.labels.review.counts import count
from loopline.labels.review.item import ReviewItem
from loopline.labels.review.reviewed import reviewed_labels
from loopline.labels.review.terms import ReviewTerms, review
from loopline.ledger import chain
from loopline.storage.database import Database
from loopline.tables.schema import UTC_TIME

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TERMS = review(0.1, expires="2d", lease="15m")
PLACE = {"project": "loans", "model": "default"}

_REVIEWER = """
import sys
from datetime import UTC, datetime
from loopline.labels.review import queue
from loopline.labels.review.terms import review
from loopline.storage.database import Database

database, at = Database.open(sys.argv[1]), datetime(2026, 3, 1, 12, tzinfo=UTC)
while True:
    with database.transaction() as tx:
        item = queue.claim(tx, "loans", model=None, by="ann", terms={"default": review()}, at=at)
    with database.transaction() as tx:
        queue.answer(tx, "loans", item.id, 1.0, by="ann", at=at)
    print(item.id, flush=True)
"""


def predictions(numbers: range, *, at: datetime = NOW, reason: str = "abstained", p: float = 1.0) -> pl.DataFrame:
    """Chosen predictions; the higher the number, the more is at risk."""
    return pl.DataFrame(
        {
            "_key": [f"k{number}" for number in numbers],
            "_event_time": pl.Series([at] * len(numbers), dtype=UTC_TIME),
            "prediction_id": [f"pr_{number}" for number in numbers],
            "scored_at": pl.Series([at] * len(numbers), dtype=UTC_TIME),
            "model_version": [1] * len(numbers),
            "reason": [reason] * len(numbers),
            "propensity": [p] * len(numbers),
            "priority": [float(number) for number in numbers],
        }
    )


class ReviewsSuite:
    """Choosing once, taking turns, answers and their corrections, ends, true labels, erasure, and the death of a process."""

    @pytest.fixture
    def opened(self, database_url: str) -> Iterator[Database]:
        with closing(Database.open(database_url, durable=False)) as database:
            yield database

    @pytest.fixture
    def five(self, opened: Database) -> Database:
        assert self.enter(opened, predictions(range(5)), after=-1, until=3) == 5
        return opened

    def enter(self, database: Database, rows: pl.DataFrame, *, after: int, until: int, at: datetime = NOW) -> int:
        with database.transaction() as tx:
            return queue.enter(tx, rows, TERMS, **PLACE, keys_of="loans.asked", after=after, until=until, at=at)

    def claim(self, database: Database, by: str, at: datetime = NOW, terms: ReviewTerms = TERMS) -> ReviewItem | None:
        with database.transaction() as tx:
            return queue.claim(tx, "loans", model=None, by=by, terms={"default": terms}, at=at)

    def claimed(self, database: Database, by: str, at: datetime = NOW) -> ReviewItem:
        found = self.claim(database, by, at)
        assert found is not None
        return found

    def answer(
        self, database: Database, item: str, label: float, by: str, at: datetime = NOW, *, correct: bool = False
    ) -> ReviewItem:
        with database.transaction() as tx:
            return queue.answer(tx, "loans", item, label, by=by, at=at, correct=correct)

    def skip(self, database: Database, item: str, by: str) -> ReviewItem:
        with database.transaction() as tx:
            return queue.skip(tx, "loans", item, by=by, at=NOW)

    def found(self, database: Database, *states: str) -> list[str]:
        with database.reading() as tx:
            return [one.prediction_id for one in queue.find(tx, "loans", states=states)]

    def refused(self, code: str, database: Database, item: str, label: float, by: str, at: datetime = NOW) -> None:
        with pytest.raises(LooplineError) as caught:
            self.answer(database, item, label, by, at)
        assert caught.value.code == code

    def test_what_was_looked_through_is_not_looked_through_again(self, five: Database) -> None:
        assert self.enter(five, predictions(range(9)), after=-1, until=3) == 0
        assert self.enter(five, predictions(range(4, 7)), after=3, until=5) == 2
        with five.reading() as tx:
            assert queue.looked_through(tx, **PLACE) == 5
        assert self.found(five) == [f"pr_{number}" for number in (6, 5, 4, 3, 2, 1, 0)]

    def test_what_is_past_its_time_does_not_enter(self, opened: Database) -> None:
        assert self.enter(opened, predictions(range(3), at=NOW - 48 * HOUR), after=-1, until=1) == 0
        assert self.enter(opened, predictions(range(3), at=NOW - 47 * HOUR), after=1, until=2) == 3

    def test_reviewers_take_turns_the_costliest_first(self, five: Database) -> None:
        assert self.claimed(five, "ann").prediction_id == "pr_4"
        assert self.claimed(five, "bob").prediction_id == "pr_3"
        assert self.claimed(five, "ann").prediction_id == "pr_4"
        with five.transaction() as tx:
            tx.execute(sa.text("update review_item set leased_until = 1 where claimed_by = 'ann'"))
        assert self.claimed(five, "cat").prediction_id == "pr_4"
        with five.reading() as tx:
            [held] = [one for one in queue.find(tx, "loans") if one.claimed_by == "cat"]
        with five.transaction() as tx, pytest.raises(Conflict):
            queue.release(tx, "loans", held.id, by="ann", at=NOW)
        with five.transaction() as tx:
            assert not queue.release(tx, "loans", held.id, by="cat", at=NOW).held

    def test_two_at_once_never_get_the_same(self, opened: Database) -> None:
        self.enter(opened, predictions(range(24)), after=-1, until=1)
        with ThreadPoolExecutor(6) as pool:
            claimed = list(pool.map(lambda number: self.claimed(opened, f"reviewer {number}").id, range(24)))
        assert len(set(claimed)) == 24
        assert self.claim(opened, "late") is None

    def test_an_answer_is_given_once_and_corrected_by_word(self, five: Database) -> None:
        item = self.claimed(five, "ann").id
        self.refused("review.held", five, item, 1.0, "bob")
        assert self.answer(five, item, 1.0, "ann").state == "answered"
        assert len(self.answer(five, item, 1.0, "bob", NOW + HOUR).answers) == 1
        self.refused("review.answered", five, item, 0.0, "bob")
        done = self.answer(five, item, 0.0, "bob", NOW - HOUR, correct=True)
        assert [(one.number, one.label, one.by, one.at) for one in done.answers] == [
            (1, 1.0, "ann", NOW),
            (2, 0.0, "bob", NOW),
        ]
        with five.reading() as tx:
            told = [(one.kind, one.actor, one.body["label"]) for one in chain.entries(tx, "loans")]
            chain.verify(tx, "loans")
        assert told == [("review.answered", "ann", 1.0), ("review.corrected", "bob", 0.0)]
        with five.transaction() as tx, pytest.raises(NotFound):
            queue.answer(tx, "loans", "rev_nothing", 1.0, by="ann", at=NOW)

    def test_who_cannot_tell_leaves_it_to_another_and_two_end_it(self, five: Database) -> None:
        item = self.claimed(five, "ann").id
        assert self.skip(five, item, "ann").state == "waiting"
        assert self.skip(five, item, "ann").skipped_by == ("ann",)
        assert self.claimed(five, "ann").prediction_id == "pr_3"
        assert self.claimed(five, "bob").id == item
        assert self.skip(five, item, "bob").state == "skipped"
        self.refused("review.ended", five, item, 1.0, "cat")

    def test_what_nobody_answers_in_time_ends_unless_somebody_is_at_it(self, five: Database) -> None:
        item = self.claimed(five, "ann").id
        late = NOW + 49 * HOUR
        assert self.claim(five, "bob", late) is None
        assert self.found(five, "expired") == ["pr_3", "pr_2", "pr_1", "pr_0"]
        assert self.answer(five, item, 1.0, "ann", late).label == 1.0

    def test_a_true_label_ends_the_waiting_and_is_kept_beside_an_answer(self, five: Database) -> None:
        first, second = self.claimed(five, "ann").id, self.claimed(five, "bob").id
        self.answer(five, first, 1.0, "ann")
        self.answer(five, second, 0.0, "bob")
        told = {"k4": (1.0, NOW + HOUR), "k3": (1.0, NOW + HOUR), "k2": (0.0, NOW + HOUR)}
        for changed in (3, 0):
            with five.transaction() as tx:
                assert queue.tell(tx, "loans", "default", told, NOW + HOUR) == changed
        with five.reading() as tx:
            items = {one.key: one for one in queue.find(tx, "loans")}
            [counts] = count(tx, "loans")
        assert (items["k4"].label, items["k4"].told, items["k4"].state) == (1.0, 1.0, "answered")
        assert (items["k3"].label, items["k3"].told) == (0.0, 1.0)
        assert (items["k2"].state, items["k2"].label) == ("told", None)
        assert (counts.waiting, counts.answered, counts.told, counts.compared, counts.agreed) == (2, 2, 1, 2, 1)
        assert counts.by == {"ann": 1, "bob": 1}

    def test_answers_are_labels_known_from_when_they_were_given(self, five: Database) -> None:
        self.enter(five, predictions(range(5, 9), reason="sampled", p=0.25), after=3, until=4)
        for number in (8, 7):
            self.answer(five, self.claimed(five, "ann").id, number % 2, "ann", NOW + number * HOUR)
        with five.transaction() as tx:
            queue.expire(tx, "loans", NOW + 60 * HOUR)
        with five.reading() as tx:
            early = reviewed_labels(tx, **PLACE, until=NOW + 7 * HOUR, most_weight=100)
            late = reviewed_labels(tx, **PLACE, until=NOW + 60 * HOUR, most_weight=100)
        assert early.frame["_key"].to_list() == ["k7"]
        assert early.frame["propensity"].to_list() == [0.25]
        rows = {key: (label, p) for key, label, p in late.frame.select("_key", "label", "propensity").iter_rows()}
        assert rows == {"k8": (0.0, 0.125), "k7": (1.0, 0.125)}  # of four that were asked, two were answered
        assert late.sampled

    def test_a_person_who_is_erased_is_in_no_item(self, five: Database) -> None:
        item = self.claimed(five, "ann").id
        with five.transaction() as tx:
            queue.answer(tx, "loans", item, 1.0, by="ann", at=NOW, note="Ada Lovelace told me")
            kept = queue.find(tx, "loans")[1].id
            queue.answer(tx, "loans", kept, 1.0, by="ann", at=NOW, note="Ada Lovelace told me")
        person = Person("Ada Lovelace", (), "person:1")
        target = Target("erasure_1", person, Traces({"loans.asked": {"k4", "k1"}}))
        sweep = erasure.eraser(five)
        dry = list(sweep.sweep(target, dry=True))
        assert self.found(five) == ["pr_4", "pr_3", "pr_2", "pr_1", "pr_0"]
        assert [(one.what, one.count) for one in dry if one.place == "reviews"] == [("items", 2)]
        sweep.sweep(target, dry=False)
        assert self.found(five) == ["pr_3", "pr_2", "pr_0"]
        with five.reading() as tx:
            assert "Lovelace" not in queue.get(tx, "loans", kept).answers[0].note
        assert not list(sweep.sweep(target, dry=False))

    @pytest.mark.heavy
    def test_what_a_killed_reviewer_was_told_is_there_and_nothing_twice(
        self, opened: Database, database_url: str
    ) -> None:
        self.enter(opened, predictions(range(400)), after=-1, until=1)
        program = [sys.executable, "-c", _REVIEWER, database_url]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ourselves
            assert process.stdout is not None
            told = [process.stdout.readline().strip() for _ in range(20)]
            process.send_signal(signal.SIGKILL)
            told += process.stdout.read().split()
        with opened.reading() as tx:
            answered = {one.id: len(one.answers) for one in queue.find(tx, "loans", states=["answered"])}
            entries = [one.subject for one in chain.entries(tx, "loans")]
            chain.verify(tx, "loans")
        assert set(told) <= set(answered)
        assert set(answered.values()) == {1}
        assert sorted(entries) == sorted(answered)
