"""Which files are meant: a file, a folder or a pattern."""

import glob
from pathlib import Path
from typing import Literal

from loopline.errors import InvalidInput, NotFound

Format = Literal["csv", "parquet", "jsonl", "json", "xlsx"]

_FORMATS: dict[str, Format] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".tab": "csv", ".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".json": "json", ".xlsx": "xlsx", ".xls": "xlsx", ".xlsb": "xlsx", ".ods": "xlsx",
}  # fmt: skip
_PACKED = {".gz", ".zst", ".zstd"}


def find_files(where: str) -> list[Path]:
    """The files at `where`, in the order of their paths; of a folder those whose format is known, in depth.

    Raises `NotFound` where there is none.
    """
    path = Path(where).expanduser()
    if path.is_dir():
        inside = (one for one in path.rglob("*") if one.is_file() and not _hidden(one.relative_to(path)))
        found = sorted(one for one in inside if _format(one))
    elif path.is_file():
        found = [path]
    else:
        matching = glob.glob(str(path), recursive=True)  # noqa: PTH207 - a pattern may be absolute
        found = sorted(Path(one) for one in matching if Path(one).is_file())
    if not found:
        raise NotFound(
            "check.no_file",
            f"there is no file to read at {where}",
            remedy="Give a file, a folder, or a pattern in quotes: CSV, Parquet, JSON lines or a spreadsheet.",
        )
    return found


def format_of(paths: list[Path]) -> Format:
    """The one format of the files. Raises `InvalidInput` where they have several, or one that is not known."""
    found = {_format(path) for path in paths}
    if len(found) != 1:
        raise InvalidInput("check.mixed_formats", f"the files have several formats: {', '.join(sorted(map(str, found)))}", remedy='Give a pattern such as "data/*.csv".')  # fmt: skip
    known = found.pop()
    if known is None:
        raise InvalidInput(
            "check.unknown_format",
            f"the format of {paths[0].name} is not known",
            remedy=f"The file's name must end in one of {' '.join(_FORMATS)}.",
        )
    return known


def is_packed(path: Path) -> bool:
    """Whether the file is compressed."""
    return path.suffix.lower() in _PACKED


def _format(path: Path) -> Format | None:
    suffix = Path(path.stem).suffix if is_packed(path) else path.suffix
    return _FORMATS.get(suffix.lower())


def _hidden(path: Path) -> bool:
    """Such as `_SUCCESS` and `_delta_log`, which hold no rows."""
    return any(part.startswith((".", "_")) for part in path.parts)
