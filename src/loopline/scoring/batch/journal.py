"""What of a job is done: one line for each part, appended and synced after what the line speaks of is durable."""

import os
from pathlib import Path

import msgspec

from loopline.errors import Corrupt
from loopline.storage.files import sync_folder


class PartDone(msgspec.Struct, frozen=True):
    """One part: its number, the files of its scores and of the rows that were set aside, and what came out.

    `flagged` counts the rows whose answer has a code, `fallen` those that the asked version did not answer.
    """

    part: int
    rows: int
    files: list[str]
    aside: list[str]
    refused: int
    flagged: int
    fallen: int


class Journal:
    """The file at `path`. One process writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.done = _read(path)

    def add(self, done: PartDone) -> None:
        """Note that a part is done; durable once this returns."""
        new = not self._path.exists()
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(done) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync_folder(self._path.parent)
        self.done.append(done)


def _read(path: Path) -> list[PartDone]:
    """The lines so far. A last line that a death cut short is taken away: its part is done again."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        with path.open("rb+") as file:
            file.truncate(len(whole))
            os.fsync(file.fileno())
    try:
        done = [msgspec.json.decode(line, type=PartDone) for line in whole.splitlines()]
    except msgspec.DecodeError as error:
        raise Corrupt(
            "batch.journal_unreadable", f"{path}: {error}", remedy="Begin again with --fresh: nothing is visible yet."
        ) from error
    if [one.part for one in done] != list(range(len(done))):
        raise Corrupt(
            "batch.journal_gap", f"{path} leaves out a part", remedy="Begin again with --fresh: nothing is visible yet."
        )
    return done
