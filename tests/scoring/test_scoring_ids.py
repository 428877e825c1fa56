import re
from concurrent.futures import ThreadPoolExecutor

from loopline.scoring.ids import CountedIds, repeated_ids


def test_ids_are_never_given_twice_by_threads_or_by_other_runs():
    one, other = CountedIds("pr", "p", "m", "spool:1"), CountedIds("pr", "p", "m", "spool:2")
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda _: one.new(500), range(20)))
    given = [name for part in parts for name in part]
    assert len(set(given)) == len(given) == 10_000
    assert not set(given) & set(other.new(10_000))
    assert all(re.fullmatch("pr_[0-9a-f]{24}", name) for name in given)


def test_many_ids_at_once_are_those_that_come_one_by_one():
    one, other = CountedIds("pr", "p"), CountedIds("pr", "p")
    assert one.new(0) == []
    assert [*one.new(300), *one.new(2), *one.new(1)] == [name for _ in range(303) for name in other.new(1)]


def test_ids_go_on_where_their_counter_ends():
    ids = CountedIds("pr", "p")
    ids._next = 0xFFFFFFFE
    found = ids.new(5)
    assert len(set(found)) == 5
    assert [name[-8:] for name in found] == ["fffffffe", "ffffffff", "00000000", "00000001", "00000002"]
    assert found[1][:19] != found[2][:19]


def test_a_request_that_is_sent_again_has_the_same_ids():
    first = repeated_ids(("p", "m"), ["a", "b"], "me", "r1")
    assert first == repeated_ids(("p", "m"), ["a", "b"], "me", "r1")
    others = [repeated_ids(("p", "m"), ["a", "b"], "you", "r1"), repeated_ids(("p", "m"), ["a", "b"], "me", "r2")]
    assert len({*first, *others[0], *others[1]}) == 6
