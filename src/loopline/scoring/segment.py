"""The bytes of a spool segment: a header, then frames of length, checksum and payload.

All integers are unsigned 32-bit little-endian. A frame is whole if its checksum (CRC-32 of the payload) holds; a writer that is
killed can leave at most one frame that is not, at the end.
"""

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

from loopline.errors import Corrupt

HEADER = b"LLSPOOL1"
LARGEST_PAYLOAD = 1 << 26

_FRAME = struct.Struct("<II")


def frames(payloads: Iterable[bytes]) -> bytes:
    """The payloads as frames. A payload may not be empty: a file system that lost a write may show zeros in its place."""
    return b"".join(_FRAME.pack(len(payload), zlib.crc32(payload)) + payload for payload in payloads)


def scan(content: bytes) -> tuple[list[bytes], int]:
    """The payloads of the whole frames at the start of a segment, and where they end; 0 if there is no header."""
    if not content.startswith(HEADER):
        return [], 0
    payloads: list[bytes] = []
    offset = len(HEADER)
    while (payload := _payload(content, offset)) is not None:
        payloads.append(payload)
        offset += _FRAME.size + len(payload)
    return payloads, offset


def read_segment(path: Path) -> list[bytes]:
    """The payloads of a sealed segment. Raises `Corrupt` "spool.corrupt" where it is not whole to its last byte."""
    content = path.read_bytes()
    payloads, end = scan(content)
    if end != len(content) or not end:
        raise Corrupt(
            "spool.corrupt",
            f"segment {path.name} is damaged at byte {end} of {len(content)}",
            remedy="Keep the file: the predictions before that byte can be read from it. Check the disk.",
            segment=path.name,
            readable=len(payloads),
        )
    return payloads


def _payload(content: bytes, offset: int) -> bytes | None:
    start = offset + _FRAME.size
    if start > len(content):
        return None
    length, checksum = _FRAME.unpack_from(content, offset)
    payload = content[start : start + length]
    whole = 0 < length <= LARGEST_PAYLOAD and len(payload) == length and zlib.crc32(payload) == checksum
    return payload if whole else None
