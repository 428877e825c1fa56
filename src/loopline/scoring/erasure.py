"""A person in the spools: what is under way is shipped, where their rows are dropped; what is damaged loses their frames."""

import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import msgspec

from loopline.access.erasure import Eraser, Removed, Target
from loopline.errors import Conflict, Unavailable
from loopline.scoring.record import Prediction
from loopline.scoring.segment import HEADER, frames, scan
from loopline.scoring.spool_folder import CORRUPT, OPEN, SEALED, TORN, SpoolFolder

PATIENCE_SECONDS = 40.0
_POLL_SECONDS = 0.05
_WAITING = (OPEN, SEALED, TORN, CORRUPT)

_decoder = msgspec.msgpack.Decoder(Prediction)


def eraser(root: Path, ship: Callable[[], object], *, patience: float = PATIENCE_SECONDS) -> Eraser:
    """Empties the spools under `root` by `ship`, which brings sealed segments to their tables.

    Sweeping raises `Unavailable` "spool.not_sealed" where a scoring process does not seal its segment within `patience` seconds.
    """

    def sweep(target: Target, *, dry: bool) -> Collection[Removed]:
        spools = [SpoolFolder(folder) for folder in sorted(root.glob("*")) if (folder / "spool.json").exists()]
        counts = {spool.path.name: sum(_theirs(spool, target)) for spool in spools}
        if not dry:
            for spool in spools:
                _drain(spool, ship, patience)
                for number in spool.numbers(TORN, CORRUPT):
                    _clean(spool, number, target)
        told = "predictions on their way to their table"
        return [Removed(f"spool {name}", "predictions", count, note=told) for name, count in counts.items() if count]

    return Eraser("spools", sweep)


def _theirs(spool: SpoolFolder, target: Target) -> Iterator[bool]:
    for number in spool.numbers(*_WAITING):
        for suffix in _WAITING:
            path = spool.segment(number, suffix)
            content = path.read_bytes() if path.exists() else b""
            yield from (_is_theirs(payload, target) for payload in scan(content)[0])


def _is_theirs(payload: bytes, target: Target) -> bool:
    try:
        key = _decoder.decode(payload).key
    except msgspec.DecodeError:
        key = ""
    return key in target.keys or target.needles.found(payload, binary=True) > 0


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
        kept = [payload for payload in payloads if not _is_theirs(payload, target)]
        tail = b"" if target.needles.found(content[end:], binary=True) else content[end:]
        if len(kept) == len(payloads) and tail == content[end:]:
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
