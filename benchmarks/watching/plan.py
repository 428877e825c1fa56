"""How much is tried: all that was asked for, or a little of every part."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """`seeds` of planted faults, of which peers get the first `peer_seeds` (by number) and the kinds `peer_kinds`, where that is not all.

    `null_rows` and `size_rows` are what Loopline gets, and peers at most what `contestants` says they can; `null_peer_rows` limits them further.
    A run of a peer that takes longer than `limit` seconds is stopped, one of Loopline after `patience`. `series` of each kind are made, of which
    peers get the first `peer_series`.
    """

    seeds: Sequence[int]
    peer_seeds: int
    held_out_seeds: Sequence[int]
    null_rows: int
    null_peer_rows: int
    size_rows: Sequence[int]
    limit: int
    patience: int = 7200
    held_out: Sequence[str] = ("employment", "credit", "affairs")
    peer_kinds: Sequence[str] = ()
    series: int = 50
    peer_series: int = 20


FULL = Plan(range(20), 2, range(20), 10_000_000, 1_000_000, (1_000_000, 10_000_000), 600)
QUICK = Plan(
    range(1),
    1,
    range(1),
    200_000,
    200_000,
    (1_000_000,),
    240,
    held_out=("affairs",),
    peer_kinds=("stale_feed",),
    series=5,
    peer_series=5,
)
