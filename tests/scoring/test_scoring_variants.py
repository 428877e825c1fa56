"""Shares of keys: disjoint, sticky, of the size that was asked for."""

import hashlib
import itertools
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from loopline.errors import Conflict, InvalidInput
from loopline.models.manifest import PackagedVersion, Variant
from loopline.scoring.variants import SLOTS, Shares, resized, slots_of

SERVED = PackagedVersion(version=2, package="p", package_envelope="e")
KEYS = [f"key-{number}" for number in range(20_000)]

names = st.sampled_from(["a", "b", "c"])
slots = st.integers(min_value=0, max_value=SLOTS)


def variant(name: str, share: float, *, role="canary", salt="s", spans=()) -> Variant:
    return Variant(name=name, role=role, served=SERVED, share=share, salt=salt, spans=spans)


def held(spans) -> list[range]:
    return [range(start, end) for start, end in spans]


def size(spans) -> int:
    return sum(end - start for start, end in spans)


def contains(spans, others) -> bool:
    """Whether every slot of `others` is one of `spans`, by marking ends on the line."""
    marks = sorted({edge for span in (*spans, *others) for edge in span})
    inside = [(low, high) for low, high in itertools.pairwise(marks)]
    return all(any(low in r for r in held(spans)) for low, high in inside if any(low in r for r in held(others)))


@given(st.lists(st.tuples(names, slots), max_size=12))
def test_however_shares_change_slots_stay_disjoint_and_growth_keeps_what_is_held(changes):
    spans = {}
    for name, wanted in changes:
        taken = [span for other, theirs in spans.items() if other != name for span in theirs]
        before = spans.get(name, ())
        free = SLOTS - size(taken)
        if wanted > free:
            with pytest.raises(Conflict):
                resized(before, wanted, taken)
            continue
        after = resized(before, wanted, taken)
        assert size(after) == wanted
        assert contains(after, before) if wanted >= size(before) else contains(before, after)
        spans[name] = after
        edges = sorted(span for theirs in spans.values() for span in theirs)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(edges))


@given(st.floats(0.001, 0.4), st.floats(0.001, 0.4), st.text(max_size=8))
def test_growth_moves_only_keys_of_the_champion_into_the_variant(first, more, salt):
    keys = KEYS[:300]
    split = resized((), slots_of(0.15), [])
    small = resized((), slots_of(first), split)
    large = resized(small, slots_of(first + more), split)
    before = Shares(
        [variant("b", 0.15, role="split", salt=salt, spans=split), variant("c", first, salt=salt, spans=small)]
    )
    after = Shares(
        [variant("b", 0.15, role="split", salt=salt, spans=split), variant("c", first + more, salt=salt, spans=large)]
    )
    for was, became in zip(before.choose_many(keys), after.choose_many(keys), strict=True):
        assert was == became or (was, became) == ("champion", "c")


@given(st.lists(st.text(max_size=10), max_size=20), st.text(max_size=5))
def test_a_keys_place_is_that_of_its_digest(keys, salt):
    spans = ((0, 200_000), (700_000, 800_000))
    shares = Shares([variant("c", 0.3, salt=salt, spans=spans)])

    def by_hand(key: str) -> str:
        digest = hashlib.blake2b(salt.encode() + b"\x1f" + key.encode(), digest_size=8).digest()
        place = int(int.from_bytes(digest, "big") / 2**64 * SLOTS)
        return "c" if any(start <= place < end for start, end in spans) else "champion"

    assert shares.choose_many(keys) == [shares.choose(key) for key in keys] == [by_hand(key) for key in keys]


def test_shares_are_of_the_size_that_was_asked_for():
    shares = Shares([variant("c", 0.05), variant("b", 0.3, role="split")])
    counted = Counter(shares.choose_many(KEYS))
    observed = [counted["c"], counted["b"], counted["champion"]]
    assert chisquare(observed, [len(KEYS) * share for share in (0.05, 0.3, 0.65)]).pvalue > 0.001


def test_another_salt_shares_out_anew():
    one = Shares([variant("c", 0.5, salt="one")]).choose_many(KEYS)
    other = Shares([variant("c", 0.5, salt="other")]).choose_many(KEYS)
    both = sum(a == b == "c" for a, b in zip(one, other, strict=True))
    assert chisquare([both, len(KEYS) - both], [len(KEYS) / 4, len(KEYS) * 3 / 4]).pvalue > 0.001


def test_another_process_shares_out_alike():
    told = (
        "from loopline.models.manifest import PackagedVersion, Variant; from loopline.scoring.variants import Shares; "
        "v = Variant(name='c', role='canary', served=PackagedVersion(version=2, package='p', package_envelope='e'), "
        "share=.3, salt='s'); print(','.join(Shares([v]).choose_many([f'key-{n}' for n in range(200)])))"
    )
    there = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout.strip()
    assert there.split(",") == Shares([variant("c", 0.3)]).choose_many(KEYS[:200])


def test_without_variants_all_is_the_champions():
    shares = Shares([])
    assert (shares.choose("x"), shares.choose_many(["x", "y"])) == ("champion", ["champion"] * 2)
    assert (shares.answers, shares.shadows, shares.shadowed(["x"])) == ((), (), {})


def test_a_shadow_answers_nobody_and_takes_its_share():
    shares = Shares([variant("all", 1, role="shadow"), variant("some", 0.2, role="shadow", salt="t")])
    assert set(shares.choose_many(KEYS)) == {"champion"}
    found = shares.shadowed(KEYS)
    assert found["all"] == list(range(len(KEYS)))
    assert chisquare([len(found["some"]), len(KEYS) - len(found["some"])], [4000, 16000]).pvalue > 0.001
    grown = Shares([variant("some", 0.4, role="shadow", salt="t")]).shadowed(KEYS)["some"]
    assert set(found["some"]) < set(grown)


def test_what_does_not_lie_on_the_line_is_refused():
    refused = {
        "variants.several_salts": [variant("a", 0.1, salt="1"), variant("b", 0.1, salt="2")],
        "variants.shares_overlap": [variant("a", 0.1, spans=((0, 10),)), variant("b", 0.1, spans=((9, 20),))],
        "variants.bad_share": [variant("a", 1.5)],
    }
    for code, found in refused.items():
        with pytest.raises(InvalidInput) as caught:
            Shares(found)
        assert caught.value.code == code
    with pytest.raises(Conflict, match="free"):
        Shares([variant("a", 0.7), variant("b", 0.4)])
