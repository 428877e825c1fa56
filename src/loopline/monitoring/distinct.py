"""How many different values there are, counted in 256 bytes that merge exactly: a HyperLogLog.

Flajolet, Fusy, Gandouet and Meunier, HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm, 2007. Small numbers are
counted by the empty registers (Whang, Vander-Zanden and Taylor, A linear-time probabilistic counting algorithm for database applications,
1990). The standard error is about 6.5 %. Hashes do not depend on the process, the machine or a library's version, so sketches of
several hosts merge.
"""

import math
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]

REGISTERS = 256
_BITS = 8
_RANKS = 64 - _BITS
_ALPHA = 0.7213 / (1 + 1.079 / REGISTERS)
_SMALL = 2.5 * REGISTERS
_FIRST = 2048

_SHIFT = np.uint64(33)
_FACTORS = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))

NOTHING = bytes(REGISTERS)
"""The sketch of no value."""


def hashes_of(numbers: Floats, memory: Hashes | None = None) -> Hashes:
    """A hash of each number, (rows,) of uint64; both zeros are one number. The finaliser of MurmurHash3.

    `memory`, (2, at least rows), is written over where it is given, and holds what is returned.
    """
    if memory is None:
        memory = np.empty((2, len(numbers)), dtype=np.uint64)
    x, shifted = memory[0, : len(numbers)], memory[1, : len(numbers)]
    np.add(numbers, 0.0, out=x.view(np.float64))
    for factor in _FACTORS:
        x ^= np.right_shift(x, _SHIFT, out=shifted)
        x *= factor
    x ^= np.right_shift(x, _SHIFT, out=shifted)
    return x


def hashes_of_texts(texts: Sequence[str]) -> Hashes:
    """A hash of each text, from its CRC-32: two texts of a hundred thousand share one now and then."""
    return hashes_of(np.array([zlib.crc32(text.encode()) for text in texts], dtype=np.float64))


class Registers:
    """Takes hashes in and gives the sketch of all of them."""

    def __init__(self) -> None:
        self._highest = np.zeros(REGISTERS, dtype=np.uint8)
        self._taken = 0

    def add(self, hashes: Hashes) -> None:
        """Take these in: the first eight bits choose the register, the rank is that of the first one among the others.

        Each time as many as so far: the more are known, the fewer still tell anything.
        """
        begin = 0
        while begin < len(hashes):
            some = hashes[begin : begin + max(self._taken, _FIRST)]
            self._take(some)
            self._taken += len(some)
            begin += len(some)

    def _take(self, hashes: Hashes) -> None:
        least = int(self._highest.min())
        if least:
            # A rank that every register has reached changes nothing.
            zeros = np.uint64(((1 << least) - 1) << _BITS)
            hashes = hashes[np.flatnonzero((hashes & zeros) == 0)]
        low = hashes >> np.uint64(_BITS)
        low |= np.uint64(1 << (_RANKS - 1))
        rank = np.bitwise_count((low & (~low + np.uint64(1))) - np.uint64(1))
        rank += np.uint8(1)
        np.maximum.at(self._highest, (hashes & np.uint64(REGISTERS - 1)).astype(np.int64), rank)

    def sketch(self) -> bytes:
        """The registers."""
        return self._highest.tobytes()


def sketch(hashes: Hashes) -> bytes:
    """The registers for these hashes."""
    registers = Registers()
    registers.add(hashes)
    return registers.sketch()


def merge_sketches(first: bytes, second: bytes) -> bytes:
    """The sketch of all values of both; unknown (empty) where one is."""
    if not first or not second:
        return b""
    return np.maximum(np.frombuffer(first, dtype=np.uint8), np.frombuffer(second, dtype=np.uint8)).tobytes()


def estimate(registers: bytes) -> float:
    """About how many different values; NaN where no sketch was kept."""
    if not registers:
        return math.nan
    ranks = np.frombuffer(registers, dtype=np.uint8).astype(np.float64)
    empty = int((ranks == 0).sum())
    raw = _ALPHA * REGISTERS**2 / float(np.exp2(-ranks).sum())
    return REGISTERS * math.log(REGISTERS / empty) if empty and raw <= _SMALL else raw
