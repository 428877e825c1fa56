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
_AT_ONCE = 1 << 16

NOTHING = bytes(REGISTERS)
"""The sketch of no value."""


def hashes_of(numbers: Floats) -> Hashes:
    """A hash of each number, (rows,) of uint64; both zeros are one number. The finaliser of MurmurHash3."""
    x = (np.asarray(numbers, dtype=np.float64) + 0.0).view(np.uint64)
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    found: Hashes = x ^ (x >> np.uint64(33))
    return found


def hashes_of_texts(texts: Sequence[str]) -> Hashes:
    """A hash of each text, from its CRC-32: two texts of a hundred thousand share one now and then."""
    return hashes_of(np.array([zlib.crc32(text.encode()) for text in texts], dtype=np.float64))


def sketch(hashes: Hashes) -> bytes:
    """The registers for these hashes."""
    seen = np.zeros((REGISTERS, 64), dtype=np.bool_)
    flat = seen.reshape(-1)
    for start in range(0, len(hashes), _AT_ONCE):
        part = hashes[start : start + _AT_ONCE]
        low = (part >> np.uint64(_BITS)) | np.uint64(1 << (_RANKS - 1))
        rank = np.bitwise_count((low & (~low + np.uint64(1))) - np.uint64(1)).astype(np.uint64) + np.uint64(1)
        flat[((part & np.uint64(REGISTERS - 1)) << np.uint64(6)) | rank] = True
    highest = 63 - np.argmax(seen[:, ::-1], axis=1)
    return np.where(seen.any(axis=1), highest, 0).astype(np.uint8).tobytes()


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
