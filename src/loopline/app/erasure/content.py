"""What is inside of a file: what compression, columns and envelopes hide from whoever looks at its bytes."""

import base64
import binascii
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import polars as pl

from loopline.access.erasure import Target
from loopline.access.needles import Needles
from loopline.models.signing import SigningKey, sign
from loopline.tables.datafile import encoded
from loopline.tables.erasure import Theirs, without
from loopline.tables.telling import columns_of
from loopline.values import canonical_json

_PARQUET, _GZIP = b"PAR1", b"\x1f\x8b"
_DEEPEST = 4

Content = Any  # bytes, or a map of a file


def layers(content: Content, *, deep: int = 0) -> Iterator[tuple[Content, bool]]:
    """The bytes to search, each with whether texts stand side by side in them: those of the file, and what it unpacks to."""
    binary = b"\x00" in content[:4096]
    yield content, binary
    if deep >= _DEEPEST:
        return
    if content[:4] == _PARQUET:
        yield from ((text, False) for text in _columns(content))
    elif content[:2] == _GZIP and (unpacked := _unzipped(content)) is not None:
        yield from layers(unpacked, deep=deep + 1)
    elif not binary and (payload := _payload(content)) is not None:
        yield from layers(payload[1], deep=deep + 1)


def cleaned(content: bytes, change: Callable[[Any], Any], theirs: Theirs, key: SigningKey) -> bytes | None:
    """The content without the person: rows of Parquet files, texts of JSON (`change` says how), of envelopes (signed anew with
    `key`), of compressed and of plain files. The very same bytes where nothing is the person's; None where the format cannot be
    changed here.
    """
    if content[:4] == _PARQUET:
        return cleaned_rows(content, theirs)[0]
    if content[:2] == _GZIP and (unpacked := _unzipped(content)) is not None:
        inside = cleaned(unpacked, change, theirs, key)
        return content if inside == unpacked else None if inside is None else gzip.compress(inside, mtime=0)
    if (payload := _payload(content)) is not None:
        kind, signed = payload
        inside = cleaned(signed, change, theirs, key)
        return content if inside == signed else None if inside is None else sign(key, kind, inside)
    return _cleaned_text(content, change, theirs.needles)


def theirs_in(target: Target) -> Theirs:
    """Which rows of a file are the person's: by key, and by the columns that are called as the subject's."""
    return Theirs(target.person.value, None, target.keys, target.needles, also=columns_of(target.person))


def cleaned_rows(content: bytes, theirs: Theirs) -> tuple[bytes, int]:
    """A Parquet file without the person, and how many rows and cells that changes: for none the very same bytes. A file that
    cannot be read stays as it is.
    """
    try:
        frame = pl.read_parquet(io.BytesIO(content))
    except pl.exceptions.PolarsError:
        return content, 0
    left, gone, cells = without(frame, theirs)
    return (encoded(left), gone + cells) if gone or cells else (content, 0)


def _cleaned_text(content: bytes, change: Callable[[Any], Any], needles: Needles) -> bytes | None:
    try:
        said = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return _cleaned_plain(content, needles)
    changed = change(said)
    return content if changed == said else canonical_json(changed)


def _cleaned_plain(content: bytes, needles: Needles) -> bytes | None:
    if not needles.found(content, binary=b"\x00" in content):
        return content
    try:
        return needles.hidden(content.decode()).encode()
    except UnicodeDecodeError:
        return None


def _columns(content: Content) -> Iterator[bytes]:
    """Every column of a Parquet file as text, but for fractions."""
    try:
        frame = pl.read_parquet(io.BytesIO(bytes(content)))
    except pl.exceptions.PolarsError:
        return
    for column in frame.get_columns():
        if column.dtype == pl.String:
            yield "\n".join(column.drop_nulls().unique()).encode()
        elif column.dtype.is_integer():
            yield "\n".join(column.drop_nulls().unique().cast(pl.String)).encode()
        elif column.dtype == pl.Binary:
            yield b"\n".join(column.drop_nulls().to_list())
        elif column.dtype.is_nested():
            yield "\n".join(map(str, column.drop_nulls().to_list())).encode()


def _unzipped(content: Content) -> bytes | None:
    try:
        return gzip.decompress(bytes(content))
    except (OSError, EOFError, zlib.error):
        return None


class _Envelope(msgspec.Struct, rename="camel"):
    payload: str
    payload_type: str
    signatures: list[Any]


def _payload(content: Content) -> tuple[str, bytes] | None:
    """Type and payload of a signed envelope (DSSE)."""
    if content[:1] != b"{":
        return None
    try:
        opened = msgspec.json.decode(bytes(content), type=_Envelope)
        return opened.payload_type, base64.b64decode(opened.payload, validate=True)
    except (msgspec.DecodeError, binascii.Error, ValueError):
        return None
