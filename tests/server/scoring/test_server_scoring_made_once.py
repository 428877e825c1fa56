import gc
import weakref

from loopline.server.scoring.made_once import MadeOnce


class Owner:
    pass


def test_each_owner_has_its_own_made_once_in_whatever_order_they_are_asked_for():
    made = []

    def make(owner):
        made.append(owner)
        return len(made)

    found, owners = MadeOnce(make), [Owner(), Owner(), Owner()]
    order = [0, 0, 1, 0, 2, 1, 1, 2, 0]
    assert [found.of(owners[place]) for place in order] == [place + 1 for place in order]
    assert made == owners


def test_none_is_made_once_too():
    made = []
    found, owner, other = MadeOnce(made.append), Owner(), Owner()
    for one in (owner, other, owner, other):
        assert found.of(one) is None
    assert made == [owner, other]


def test_what_is_not_served_any_more_goes():
    found, owner, after = MadeOnce(lambda _: [1]), Owner(), Owner()
    gone = weakref.ref(owner)
    found.of(owner)
    found.of(after)
    del owner
    gc.collect()
    assert gone() is None
