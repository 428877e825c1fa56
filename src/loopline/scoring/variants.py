"""Which variant answers a key: shares of a line of slots, and a key's place on it by digest.

The line has a million slots. A variant that answers holds slots of its own, in `spans` that no other holds; what nobody holds is
the champion's. A key's slot follows from the endpoint's salt and the key alone. So a key keeps its variant while the variant
keeps its slots, in every process and after every restart, and a share that grows only takes from the champion.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from loopline.errors import Conflict, InvalidInput
from loopline.models.manifest import SlotSpan, Variant
from loopline.scoring.record import CHAMPION

SLOTS = 1_000_000
SHADOW = "shadow"
VARIANT_FAILED = "variant_failed"


class Shares:
    """Shares keys out among the variants of one endpoint. It never changes; share it between threads.

    Raises `InvalidInput` "variants.shares_overlap" where two hold the same slot or a share is more than there is, and
    "variants.several_salts" where those that answer do not lie on one line.
    """

    def __init__(self, variants: Sequence[Variant]) -> None:
        answering = [one for one in variants if one.role != SHADOW]
        salts = {one.salt for one in answering}
        if len(salts) > 1:
            raise InvalidInput(
                "variants.several_salts",
                f"the variants {', '.join(one.name for one in answering)} do not share one salt",
                remedy="Give all that answer at an endpoint the same salt.",
            )
        self._line = _line(answering)
        self._digest = _keyed(next(iter(salts), ""))
        self._starts, self._names = _boundaries(self._line)
        self._shadows = [(one.name, _keyed(one.salt), slots_of(one.share)) for one in variants if one.role == SHADOW]

    @property
    def answers(self) -> tuple[str, ...]:
        """The variants that answer beside the champion, sorted."""
        return tuple(sorted({name for _, _, name in self._line}))

    @property
    def shadows(self) -> tuple[str, ...]:
        """The variants that score without answering, in the order they were given."""
        return tuple(name for name, _, _ in self._shadows)

    def choose(self, key: str) -> str:
        """The name of the variant that answers `key`; `"champion"` for all that fall to no other."""
        if not self._line:
            return CHAMPION
        return self._names[bisect_right(self._starts, _slot(self._digest, key)) - 1]

    def choose_many(self, keys: Sequence[str]) -> list[str]:
        """`choose` for each of `keys`, in order."""
        if not self._line:
            return [CHAMPION] * len(keys)
        names, starts, digest = self._names, self._starts, self._digest
        return [names[bisect_right(starts, _slot(digest, key)) - 1] for key in keys]

    def shadowed(self, keys: Sequence[str]) -> dict[str, list[int]]:
        """For each shadow the places in `keys` of those it scores; a shadow that scores none of them is left out."""
        found = {}
        for name, digest, slots in self._shadows:
            whole = slots >= SLOTS
            places = [place for place, key in enumerate(keys) if whole or _slot(digest, key) < slots]
            if places:
                found[name] = places
        return found


def variant_failed(name: str) -> str:
    """The code of an answer that the champion gave because this variant could not."""
    return f"{VARIANT_FAILED}:{name}"


def slots_of(share: float) -> int:
    """How many slots a share is. Raises `InvalidInput` "variants.bad_share" unless it is in (0, 1] and holds at least one."""
    slots = round(share * SLOTS) if 0 < share <= 1 else 0
    if not slots:
        raise InvalidInput(
            "variants.bad_share", f"{share} is no share", remedy="Give a share of more than 0 and at most 1, e.g. 5%."
        )
    return slots


def resized(spans: Sequence[SlotSpan], slots: int, taken: Iterable[SlotSpan]) -> tuple[SlotSpan, ...]:
    """Spans of `slots` in all: those of `spans`, and more from what is free; or the first of them where that is less.

    `taken` are the spans of the others. Raises `Conflict` "variants.share_taken" where not enough is free.
    """
    kept, left = [], slots
    for start, end in spans:
        if left:
            kept.append((start, min(end, start + left)))
            left -= kept[-1][1] - start
    for start, end in _free([*kept, *taken]):
        if left:
            kept.append((start, min(end, start + left)))
            left -= kept[-1][1] - start
    if left:
        raise Conflict(
            "variants.share_taken",
            f"{left / SLOTS:.2%} more than is free is asked for",
            remedy="Give a smaller share, or end or shrink another variant first.",
        )
    return _merged(kept)


def _merged(spans: Sequence[SlotSpan]) -> tuple[SlotSpan, ...]:
    """Spans that touch in the order they were taken as one; the order stays, for it is that of giving back."""
    merged: list[SlotSpan] = []
    for start, end in spans:
        if merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return tuple(merged)


def _free(taken: Iterable[SlotSpan]) -> list[SlotSpan]:
    free, reached = [], 0
    for start, end in sorted(taken):
        if start > reached:
            free.append((reached, start))
        reached = max(reached, end)
    return [*free, (reached, SLOTS)] if reached < SLOTS else free


def _line(answering: Sequence[Variant]) -> list[tuple[int, int, str]]:
    """Who holds which slots, in order. Variants without spans get some, in the order they were given."""
    held = {one.name: one.spans for one in answering if one.spans}
    for one in answering:
        if not one.spans:
            taken = [span for spans in held.values() for span in spans]
            held[one.name] = resized((), slots_of(one.share), taken)
    line = sorted((start, end, name) for name, spans in held.items() for start, end in spans)
    reached = 0
    for start, end, name in line:
        if not reached <= start < end <= SLOTS:
            raise InvalidInput(
                "variants.shares_overlap",
                f"the slots {start} to {end} of {name!r} are not its own",
                remedy="Publish the manifest again from the control plane.",
            )
        reached = end
    return line


def _boundaries(line: Sequence[tuple[int, int, str]]) -> tuple[list[int], list[str]]:
    starts, names = [0], [CHAMPION]
    for start, end, name in line:
        starts += [start, end]
        names += [name, CHAMPION]
    return starts, names


def _keyed(salt: str) -> "hashlib.blake2b":
    return hashlib.blake2b(f"{salt}\x1f".encode(), digest_size=8)


def _slot(keyed: "hashlib.blake2b", key: str) -> int:
    made = keyed.copy()
    made.update(key.encode("utf-8", "surrogatepass"))
    return int.from_bytes(made.digest(), "big") * SLOTS >> 64
