"""A person in the spools: what is under way is shipped, where their rows are dropped; what is damaged loses their frames."""

import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import msgspec

from loopline.access.erasure import Eraser, Removed, Target
from loopline.errors import Conflict, Unavailable
from loopline.scoring.block import Block, decode, encode
from loopline.scoring.segment import HEADER, frames, scan
from loopline.scoring.spool_folder import CORRUPT, OPEN, SEALED, TORN, SpoolFolder

PATIENCE_SECONDS = 40.0
_POLL_SECONDS = 0.05
_WAITING = (OPEN, SEALED, TORN, CORRUPT)


def eraser(root: Path, ship: Callable[[], object], *, patience: float = PATIENCE_SECONDS) -> Eraser:
    """Empties the spools under `root` by `ship`, which brings sealed segments to their tables.

    Sweeping raises `Unavailable` "spool.not_sealed" where a scoring process does not seal its segment within `patience` seconds.
    """

    def sweep(target: Target, *, dry: bool) -> Collection[Removed]:
        spools = [SpoolFolder(folder) for folder in sorted(root.glob("*")) if (folder / "spool.json").exists()]
        counts = {spool.path.name: sum(_theirs(spool, target)) for spool in spools}
        if not dry:
            drain(root, ship, patience=patience)
            for spool in spools:
                for number in spool.numbers(TORN, CORRUPT):
                    _clean(spool, number, target)
        told = "predictions on their way to their table"
        return [Removed(f"spool {name}", "predictions", count, note=told) for name, count in counts.items() if count]

    return Eraser("spools", sweep)


def drain(root: Path, ship: Callable[[], object], *, patience: float = PATIENCE_SECONDS) -> bool:
    """Have all that the spools under `root` hold by now sealed and shipped; whether there was any. Raises as `eraser`."""
    spools = [SpoolFolder(folder) for folder in sorted(root.glob("*")) if (folder / "spool.json").exists()]
    waiting = [spool for spool in spools if spool.numbers(OPEN, SEALED)]
    for spool in waiting:
        _drain(spool, ship, patience)
    return bool(waiting)


def _theirs(spool: SpoolFolder, target: Target) -> Iterator[bool]:
    for number in spool.numbers(*_WAITING):
        for suffix in _WAITING:
            path = spool.segment(number, suffix)
            content = path.read_bytes() if path.exists() else b""
            for payload in scan(content)[0]:
                block = _block(payload)
                yield from [True] * (len(_places(block, target)) if block else _names(payload, target))


def _block(payload: bytes) -> Block | None:
    try:
        return decode(payload)
    except msgspec.DecodeError:
        return None


def _names(payload: bytes, target: Target) -> bool:
    return target.needles.found(payload, binary=True) > 0


def _places(block: Block, target: Target) -> set[int]:
    """The rows of a block that are about the person: by key, or by what stands in them."""
    theirs = {place for place, key in enumerate(block.column("key")) if key in target.keys}
    if _names(encode(block), target):
        rows = ((place, block.without(set(range(len(block))) - {place})) for place in range(len(block)))
        theirs |= {place for place, row in rows if _names(encode(row), target)}
    return theirs


def _without(payload: bytes, target: Target) -> bytes | None:
    """What of a frame is others'; None where nothing is."""
    block = _block(payload)
    if block is None:
        return None if _names(payload, target) else payload
    theirs = _places(block, target)
    if not theirs:
        return payload
    return encode(block.without(theirs)) if len(theirs) < len(block) else None


def _drain(spool: SpoolFolder, ship: Callable[[], object], patience: float) -> None:
    """Have all that is there by now sealed and shipped."""
    waiting = set(spool.numbers(OPEN, SEALED))
    deadline = time.monotonic() + patience
    spool.ask_to_seal()
    while waiting & set(spool.numbers(OPEN, SEALED)):
        try:
            ship()
        except Conflict as busy:
            if busy.code != "spool.in_use":
                raise
        if time.monotonic() > deadline:
            raise Unavailable(
                "spool.not_sealed",
                f"the spool {spool.path} was not sealed and shipped within {patience:g} seconds",
                remedy="Stop the scoring process that owns it (`loopline up`), then erase again: what was done stays done.",
            )
        time.sleep(_POLL_SECONDS)


def _clean(spool: SpoolFolder, number: int, target: Target) -> None:
    """A segment that was set aside keeps the frames of others; a tail that cannot be read goes if it names the person."""
    for suffix in (TORN, CORRUPT):
        path = spool.segment(number, suffix)
        if not path.exists():
            continue
        content = path.read_bytes()
        payloads, end = scan(content)
        kept = [rest for payload in payloads if (rest := _without(payload, target)) is not None]
        tail = b"" if target.needles.found(content[end:], binary=True) else content[end:]
        if kept == payloads and tail == content[end:]:
            continue
        fresh = (HEADER + frames(kept) if kept else b"") + tail
        half = path.with_name(f".{path.name}")
        half.write_bytes(fresh)
        if fresh:
            half.replace(path)
        else:
            half.unlink()
            path.unlink()
        spool.sync()
