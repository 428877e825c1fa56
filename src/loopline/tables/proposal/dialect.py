"""How a CSV file is written: its encoding, separator, header; found by looking, never by asking."""

import codecs
import csv
import gzip
import io
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from loopline.errors import InvalidInput
from loopline.tables.proposal.finding import Finding

_HEAD = 1 << 18
_CHUNK = 1 << 20
_RECORDS = 500
_SEPARATORS = (",", ";", "\t", "|")
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)*|[.,]\d+)([eE][+-]?\d+)?\s*")
_SAID = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True)
class Dialect:
    """`names` are the columns' as the header has them, empty without a header. `encoding` is Python's name of it."""

    separator: str = ","
    encoding: str = "utf-8"
    header: bool = True
    names: tuple[str, ...] = ()
    ragged: int = 0
    findings: list[Finding] = field(default_factory=list)

    def said(self) -> str:
        """In words."""
        return f"CSV with {_SAID[self.separator]}, {'Latin-1' if self.encoding == 'cp1252' else self.encoding.upper().removesuffix('-SIG')}"


def dialect_of(path: Path) -> Dialect:
    """Look at the beginning of a file for its separator and header, and at all of it for its encoding."""
    encoding = _encoding(path)
    head = _head(path).decode(encoding, errors="replace").replace("\x00", "")
    if len(head) >= _HEAD // 4 and "\n" in head:
        head = head[: head.rfind("\n") + 1]  # the last line may be cut
    separator = _separator(head)
    records = _records(head, separator)
    if not records:
        return Dialect(separator, encoding)
    first = tuple(records[0])
    header = not (len(records) > 1 and any(cell.strip() for cell in first) and all(_NUMBER.fullmatch(cell) for cell in first if cell.strip()))  # fmt: skip
    ragged = sum(1 for record in records[1:] if len(record) != len(first))
    return Dialect(
        separator,
        encoding,
        header,
        first if header else (),
        ragged,
        _findings(path, encoding, first, records, header=header),
    )


def _findings(
    path: Path, encoding: str, first: tuple[str, ...], records: list[list[str]], *, header: bool
) -> list[Finding]:
    found = []
    if encoding == "cp1252":
        found.append(
            Finding(
                level="warning",
                code="encoding",
                message=f"{path.name} is not UTF-8; it was read as Latin-1 (Windows-1252).",
                remedy="Save it as UTF-8, or check that letters with accents came out right.",
            )
        )
    if not header:
        message = (
            f"{path.name} seems to have no header: its first line holds only numbers. Columns were named by place."
        )
        found.append(
            Finding(level="warning", code="no-header", message=message, remedy="Write the names into a first line.")
        )
    twice = [name for name, count in Counter(name.strip() for name in first).items() if count > 1 and name and header]
    for name in twice:
        message = f"the header names {name!r} {first.count(name)} times; the later ones were renamed."
        found.append(Finding(level="error", code="duplicate-column", column=name, message=message, remedy="Give each column a name of its own."))  # fmt: skip
    blank = sum(not name.strip() for name in first)
    if header and blank:
        found.append(Finding(level="warning", code="unnamed-column", message=f"{blank} columns have no name; they were named by place."))  # fmt: skip
    wrong = [record for record in records[1:] if len(record) != len(first)]
    if wrong:
        message = f"{len(wrong)} of the first {len(records) - 1} lines have {len(wrong[0])} fields where the first has {len(first)}."
        found.append(
            Finding(
                level="error",
                code="ragged",
                message=message,
                rows=len(wrong),
                remedy="Is a separator in a value not quoted? Missing fields were read as null, further ones left out.",
            )
        )
    return found


def transcode(path: Path, encoding: str, to: Path) -> None:
    """Write the file anew in UTF-8, as a stream."""
    with _open(path) as source, to.open("wb") as target:
        reader = io.TextIOWrapper(source, encoding=encoding, errors="replace", newline="")
        while part := reader.read(_CHUNK):
            target.write(part.replace("\x00", "").encode())


def _open(path: Path) -> BinaryIO:
    if path.suffix.lower() == ".gz":
        return cast("BinaryIO", gzip.open(path))
    if path.suffix.lower() in {".zst", ".zstd"}:
        raise InvalidInput(
            "check.packed", f"{path.name} is packed with zstd", remedy="Unpack it, or pack it with gzip."
        )
    return path.open("rb")


def _head(path: Path) -> bytes:
    with _open(path) as file:
        return file.read(_HEAD)


def _encoding(path: Path) -> str:
    head = _head(path)
    marked = next((name for bom, name in _BOMS if head.startswith(bom)), None)
    if marked:
        return marked
    if head and head.count(0) > len(head) // 4:
        return "utf-16-le" if head[1:2] == b"\x00" else "utf-16-be"
    return "utf-8" if _is_utf8(path) else "cp1252"


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with _open(path) as file:
        try:
            while part := file.read(_CHUNK):
                decoder.decode(part)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _separator(head: str) -> str:
    """The one that cuts most lines into the same number of fields, of at least two."""
    best, most = ",", 1.0
    for separator in _SEPARATORS:
        widths = [len(record) for record in _records(head, separator)]
        width, count = Counter(widths).most_common(1)[0] if widths else (1, 0)
        agree = count / max(len(widths), 1)
        if width > 1 and width * agree**2 > most:
            best, most = separator, width * agree**2
    return best


def _records(head: str, separator: str) -> list[list[str]]:
    found: list[list[str]] = []
    try:
        for record in csv.reader(head.splitlines(keepends=True), delimiter=separator):
            if record:
                found.append(record)
            if len(found) > _RECORDS:
                break
    except csv.Error:  # a field longer than the csv module takes
        return found
    return found
