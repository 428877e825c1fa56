"""What a backup holds. A folder without it is none."""

from datetime import datetime
from pathlib import Path

import msgspec

from loopline.errors import Corrupt, InvalidInput, NotFound
from loopline.ledger.chain import Head
from loopline.storage.files import write_file
from loopline.values import canonical_json, digest

NAME = "BACKUP.json"
FORMAT = 1


class File(msgspec.Struct, frozen=True):
    """One file: the SHA-256 of its content, its size in bytes, its permissions."""

    digest: str
    size: int
    mode: int = 0o600


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A backup of one home, whole. `database` is "sqlite" or "postgresql"; `revision` is its schema's. `tables` says the version
    that each was copied at, `ledgers` where each chain ended, `files` every file by its path below the backup. `digest` is that of the rest.
    """

    format: int = FORMAT
    made_at: datetime
    loopline: str
    database: str
    revision: str | None
    tables: dict[str, int]
    ledgers: dict[str, Head]
    files: dict[str, File]
    digest: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    def sealed(self) -> "Manifest":
        """The manifest with its digest."""
        return msgspec.structs.replace(self, digest=self._reckoned())

    def check(self) -> None:
        """Raise `Corrupt` "backup.manifest_damaged" where it is not what was written."""
        if self.digest != self._reckoned():
            raise Corrupt(
                "backup.manifest_damaged",
                f"{NAME} was changed or damaged: its digest is another",
                remedy="Take another backup; nothing was restored.",
            )

    def _reckoned(self) -> str:
        return digest(canonical_json(msgspec.structs.replace(self, digest="")))


def write(folder: Path, manifest: Manifest) -> None:
    """Put the manifest into the backup, durably; before that it is none."""
    write_file(folder / NAME, msgspec.json.format(msgspec.json.encode(manifest.sealed()), indent=1))


def read(folder: Path) -> Manifest:
    """The manifest, checked. Raises `NotFound` "backup.not_found", `InvalidInput` "backup.format_unknown", and as `check`."""
    try:
        content = (folder / NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(
            "backup.not_found",
            f"{folder} is no whole backup: it has no {NAME}",
            remedy="Name the folder that `loopline backup` made. One that was killed leaves no backup.",
        ) from error
    try:
        said = msgspec.json.decode(content)
        if isinstance(said, dict) and said.get("format") != FORMAT:
            raise InvalidInput(
                "backup.format_unknown",
                f"{folder} has format {said.get('format')!r}, and this version knows {FORMAT}",
                remedy="Restore it with the version of Loopline that made it, or a later one.",
            )
        manifest = msgspec.convert(said, Manifest)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Corrupt(
            "backup.manifest_damaged", f"{folder / NAME} cannot be read: {error}", remedy="Take another backup."
        ) from error
    manifest.check()
    return manifest
