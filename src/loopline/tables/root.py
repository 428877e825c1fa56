"""Where all tables of a home are: below one local folder, or one URL of an object store."""

import re
from pathlib import Path

from loopline.errors import InvalidInput
from loopline.storage.objects import Objects
from loopline.tables.folder import Folder
from loopline.tables.local_folder import LocalFolder
from loopline.tables.remote_folder import RemoteFolder

_REMOTE = re.compile(r"(s3|gs|az)://[^/]+.*")
_FIRST = f"_delta_log/{0:020d}.json"


class Root:
    """The place `url`; a remote one needs `locks`, a local folder of the home in which its writers find each other.

    Raises `InvalidInput` (`tables.remote_root`, `tables.no_locks`).
    """

    def __init__(self, url: str | Path, *, durable: bool, locks: Path | None) -> None:
        text = str(url).removeprefix("file://")
        self._durable = durable
        self._locks = locks
        self._remote = text.rstrip("/") if "://" in text else None
        self._local = Path(text).absolute()
        if self._remote is None:
            return
        if not _REMOTE.fullmatch(self._remote):
            raise InvalidInput(
                "tables.remote_root",
                f"tables cannot be kept in {text}",
                remedy="Use a local folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.",
            )
        if locks is None:
            raise InvalidInput(
                "tables.no_locks",
                f"whoever writes tables in {text} needs a local folder for locks",
                remedy="Open them with the locks of their home: `Tables(url, locks=HOME / 'locks')`.",
            )

    @property
    def lock(self) -> Path:
        """The local file that is held by those who change what is said of all tables."""
        return self._lock("_erased") if self._remote else self._local / "_erased.lock"

    def folder(self, name: str = "") -> Folder:
        """The folder of the table `name`; of all of them for "". Nothing is made."""
        if self._remote is None:
            return LocalFolder(self._local / name if name else self._local, durable=self._durable)
        return RemoteFolder(f"{self._remote}/{name}" if name else self._remote, lock=self._lock(name or "_root"))

    def holds(self, name: str) -> bool:
        """Whether the table `name` is there."""
        return self.folder(name).size(_FIRST) is not None

    def names(self) -> list[str]:
        """The names of all tables, sorted."""
        if self._remote is None:
            folders = self._local.iterdir() if self._local.exists() else ()
            return sorted(folder.name for folder in folders if (folder / _FIRST).exists())
        return sorted(name for name in Objects(self._remote).folders() if self.holds(name))

    def _lock(self, name: str) -> Path:
        return (self._locks or Path()) / f"{name}.lock"
