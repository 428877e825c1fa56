from loopline.loop.backoff import LONGEST_SECONDS, Backoff


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_each_failure_in_a_row_waits_twice_as_long_up_to_a_limit() -> None:
    hand = Hand()
    backoff = Backoff(hand)
    waited = []
    for _ in range(10):
        assert backoff.ready()
        backoff.note(succeeded=False)
        began = hand.seconds
        while not backoff.ready():
            hand.seconds += 1
        waited.append(hand.seconds - began)
    assert waited == [4, 8, 16, 32, 64, 128, 256, LONGEST_SECONDS, LONGEST_SECONDS, LONGEST_SECONDS]


def test_a_success_ends_the_waiting() -> None:
    hand = Hand()
    backoff = Backoff(hand)
    backoff.note(succeeded=False)
    assert not backoff.ready()
    hand.seconds += 4
    backoff.note(succeeded=True)
    assert backoff.ready()
    backoff.note(succeeded=False)
    hand.seconds += 4
    assert backoff.ready()
