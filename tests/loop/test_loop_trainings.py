"""What several ask for at one moment is made once."""

import threading
from datetime import UTC, datetime

import pytest

from loopline.loop.trainings import Trainings

AT, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


def test_it_is_made_once_for_each_key_and_moment():
    made, trainings = [], Trainings[int]()

    def make() -> int:
        made.append(1)
        return len(made)

    found = [trainings.once(at, key, make) for at, key in [(AT, "a"), (AT, "a"), (AT, "b"), (LATER, "a"), (LATER, "a")]]
    assert [one.made for one in found] == [1, 1, 2, 3, 3]
    assert [one.elsewhere for one in found] == [False, True, False, False, True]
    assert found[1].seconds == found[0].seconds


def test_who_comes_while_it_is_made_waits_for_it():
    trainings, begun, go_on, found = Trainings[str](), threading.Event(), threading.Event(), []

    def slow() -> str:
        begun.set()
        assert go_on.wait(30)
        return "the first's"

    first = threading.Thread(target=lambda: found.append(trainings.once(AT, "a", slow)))
    first.start()
    assert begun.wait(30)
    second = threading.Thread(target=lambda: found.append(trainings.once(AT, "a", lambda: "another")))
    second.start()
    go_on.set()
    first.join(30)
    second.join(30)
    assert {one.made for one in found} == {"the first's"}


def test_what_failed_is_tried_anew_by_the_next():
    trainings = Trainings[int]()

    def fail() -> int:
        raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        trainings.once(AT, "a", fail)
    assert trainings.once(AT, "a", lambda: 7).made == 7
