"""When the loop stays awake: for a lone caller who asks again at once, for a moment, and for nobody else."""

from loopline.server.scoring.busy_poll import ALONE_AFTER, SOON_SECONDS, BusyPoll


class Loop:
    """Counts the looks, and takes as long as it is told for each turn."""

    def __init__(self):
        self.now, self.turns, self.soon = 1.0, 0, []

    def clock(self):
        return self.now

    def call_soon(self, call):
        self.soon.append(call)

    def turn(self, seconds):
        self.now += seconds
        self.turns += 1
        due, self.soon = self.soon, []
        for call in due:
            call()


def asked(loop, poll, caller, *, gap, turns=50):
    """Looks that were taken after an answer, until the next request came."""
    poll.arrived(caller, loop.now)
    poll.answered()
    looks = 0
    for _ in range(turns):
        looks += len(loop.soon)
        loop.turn(gap / turns)
    return looks


def lone(loop, poll, gap):
    return [asked(loop, poll, 1, gap=gap) for _ in range(ALONE_AFTER + 5)][-1]


def test_a_lone_caller_who_asks_again_at_once_is_looked_for_until_it_comes():
    loop = Loop()
    assert lone(loop, BusyPoll(loop, loop.clock), SOON_SECONDS / 2) == 50


def test_a_slow_caller_costs_nothing():
    loop = Loop()
    assert lone(loop, BusyPoll(loop, loop.clock), SOON_SECONDS * 2) == 0


def test_several_callers_are_not_looked_for():
    loop = Loop()
    poll = BusyPoll(loop, loop.clock)
    assert [asked(loop, poll, place % 2, gap=SOON_SECONDS / 2) for place in range(40)] == [0] * 40
    assert not poll.alone


def test_a_caller_who_does_not_come_back_is_looked_for_once():
    loop = Loop()
    poll = BusyPoll(loop, loop.clock)
    lone(loop, poll, SOON_SECONDS / 2)
    assert asked(loop, poll, 1, gap=SOON_SECONDS * 10) == 5  # fifty turns, of which a tenth begin within the moment
    assert asked(loop, poll, 1, gap=SOON_SECONDS * 10) == 0
    assert asked(loop, poll, 1, gap=SOON_SECONDS / 2) == 0  # the one before came late
    assert asked(loop, poll, 1, gap=SOON_SECONDS / 2) == 50
