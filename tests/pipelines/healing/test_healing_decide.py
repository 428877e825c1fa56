"""What is tried next: against a plain walk through what was declared, and always to an end."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import loopline as ll
from loopline.errors import InvalidInput
from loopline.pipelines.healing.classes import CLASSES, Classified
from loopline.pipelines.healing.decide import RETRIED, next_remedy
from loopline.pipelines.healing.remedies import of_heal

T0 = datetime(2026, 3, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

HEAL = [
    ll.when("access", ll.wait("30m", every="10m"), ll.last_good, ll.page("ann")),
    ll.when("data", ll.quarantine_rows, ll.fall_back("read_backup"), ll.skip_window(backfill_after="6h")),
    ll.when(["capacity", "timeout"], ll.retry(3, first="10s", at_most="25s")),
]


def error(class_="access", name="builtins.PermissionError", code=""):
    return Classified(class_=class_, why="", name=name, told="", shape="", fingerprint="f", code=code)


def story(heal, classes, *, step=MINUTE, most=200, **said):
    """What is tried when each error in turn follows what was tried before, until the step is over."""
    history, now, told = [], T0, []
    for number in range(most):
        found = next_remedy(heal, error(classes[number % len(classes)]), history, now=now, **said)
        told.append(found)
        if found.ends:
            return told
        history.append(found.tried(now))
        now = max(found.at or now, now) + step
    raise AssertionError("it never ended")


def test_remedies_are_tried_in_order_and_the_last_ends_it():
    kinds = [one.kind for one in story(HEAL, ["access"])]
    assert kinds == ["wait", "wait", "wait", "last_good", "page"]
    assert [one.kind for one in story(HEAL, ["data"])] == ["quarantine_rows", "fall_back", "skip_window"]
    assert [one.kind for one in story(HEAL, ["timeout"])] == ["retry", "retry", "retry", "fail"]
    assert [one.kind for one in story(HEAL, ["code"])] == ["fail"]


def test_a_source_is_waited_for_as_long_as_was_said():
    waits = [one for one in story(HEAL, ["access"], step=timedelta(0)) if one.kind == "wait"]
    assert [one.at - T0 for one in waits] == [10 * MINUTE, 20 * MINUTE, 30 * MINUTE]


def test_retries_wait_ever_longer_and_by_chance_that_derives():
    waits = [one.at for one in story(HEAL, ["timeout"], step=timedelta(0), path=["exec_1", "read"])[:3]]
    seconds = [(later - earlier).total_seconds() for earlier, later in zip([T0, *waits], waits, strict=False)]
    assert all(full / 2 <= wait <= full for full, wait in zip([10, 20, 25], seconds, strict=True))
    assert waits == [one.at for one in story(HEAL, ["timeout"], step=timedelta(0), path=["exec_1", "read"])[:3]]
    others = [one.at for one in story(HEAL, ["timeout"], step=timedelta(0), path=["exec_2", "read"])[:3]]
    assert waits != others


def test_without_a_declaration_the_class_decides_retry():
    for class_ in CLASSES:
        kinds = [one.kind for one in story([], [class_], retries=ll.retry(2))]
        assert kinds == (["retry", "retry", "fail"] if class_ in RETRIED else ["fail"])
    assert story([], ["access"])[0].sentence == (
        "access error builtins.PermissionError: nothing is declared against access errors."
    )


@settings(max_examples=200, deadline=None)
@given(
    classes=st.lists(st.sampled_from(CLASSES), min_size=1, max_size=6),
    seconds=st.integers(1, 3000),
    rules=st.permutations(HEAL),
)
def test_whatever_goes_wrong_it_ends_and_nothing_is_tried_out_of_turn(classes, seconds, rules):
    told = story(rules, classes, step=timedelta(seconds=seconds), retries=ll.retry(2))
    last = {}
    for one in told:
        if one.kind == "fail":
            continue
        before = last.get(one.rule, (-1, 0))
        assert (one.place, one.number) > before
        assert one.place >= before[0]
        assert one.number == (before[1] + 1 if one.place == before[0] else 1)
        assert one.at is None or one.at > T0
        last[one.rule] = (one.place, one.number)
    assert len(told) <= 6 * (4 + 3 + 3 + 3)


def test_the_first_that_fits_is_taken_by_class_name_or_code():
    heal = [
        ll.when("source.stale", ll.last_good),
        ll.when("PermissionError", ll.page("ann")),
        ll.when("any", ll.retry(1)),
    ]
    assert next_remedy(heal, error(), [], now=T0).kind == "page"
    assert next_remedy(heal, error(code="source.stale"), [], now=T0).kind == "last_good"
    assert next_remedy(heal, error("code", "builtins.KeyError"), [], now=T0).kind == "retry"


def test_sentences_say_what_is_done():
    first, *_, last = story(HEAL, ["access"])
    assert first.sentence == (
        "access error builtins.PermissionError: its source is waited for, up to 30m; tried again at 2026-03-02 00:10:00 UTC."
    )
    assert last.sentence == "access error builtins.PermissionError: ann is paged."
    assert story(HEAL, ["data"])[-1].sentence.endswith("its window is skipped, and executed again after 6h.")
    assert story(HEAL, ["timeout"])[-1].sentence.endswith("retry did not help.")


@pytest.mark.parametrize(
    "declare",
    [
        lambda: ll.when("access"),
        lambda: ll.when("acess", ll.page),
        lambda: ll.when([], ll.page),
        lambda: ll.when("access", "retry"),
        lambda: ll.when("access", ll.page, ll.last_good),
        lambda: ll.retry(0),
        lambda: ll.retry(first="soon"),
        lambda: ll.wait("0s"),
        lambda: ll.fall_back(""),
        lambda: ll.last_good(max_age="x"),
        lambda: ll.skip_window(backfill_after="1d", times=0),
        lambda: of_heal([ll.page]),
    ],
)
def test_what_makes_no_sense_is_refused(declare):
    with pytest.raises(InvalidInput):
        declare()


def test_a_step_may_be_named_by_itself():
    def read_backup():
        """A step."""

    named = ll.fall_back(read_backup)
    assert named.step == ll.fall_back("read_backup").step == "read_backup"
    assert named.function.startswith(f"{__name__}:")
    assert of_heal(None) == ()
    assert len(of_heal(HEAL[0])) == 1
