"""All tables of a home."""

import re
import threading
from collections.abc import Iterable
from pathlib import Path

from loopline.access.pseudonyms import Pseudonyms
from loopline.clock import Clock, SystemClock
from loopline.errors import Conflict, InvalidInput, NotFound
from loopline.tables import copying
from loopline.tables.blocked import Blocked
from loopline.tables.root import Root
from loopline.tables.schema import TableSchema
from loopline.tables.table import Table

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*)*")
_LONGEST = 200


class Tables:
    """The tables below `root`, each a Delta table in a folder of its name: a local folder, or the URL of an object store (`s3://`,
    `gs://`, `az://`), which takes a local folder `locks` in which the writers of this machine find each other. Share it between threads.

    With `durable`, what a call acknowledges survives the death of the machine; without, that of the process. `clock` gives the
    times of commits. `pseudonyms` are those of the home, by whose key persons are known who were erased. Raises `InvalidInput` (`tables.remote_root`, `tables.no_locks`).
    """

    def __init__(
        self,
        root: str | Path,
        *,
        durable: bool = True,
        clock: Clock | None = None,
        pseudonyms: Pseudonyms | None = None,
        locks: Path | None = None,
    ) -> None:
        self._root = Root(root, durable=durable, locks=locks)
        self._clock = clock or SystemClock()
        self.blocked = Blocked(self._root.folder(), pseudonyms, lock=self._root.lock)
        self._handles: dict[str, Table] = {}
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where they are: a path, or a URL."""
        return self._root.folder().url

    def create(self, name: str, schema: TableSchema) -> Table:
        """The table `name`, made if it is not there; columns and personal tags that it lacks are added.

        Names are dotted: letters, digits, `_`, `-`. Raises `Conflict` (`table.schema_changed`) where the table has a column
        that `schema` lacks or has with another dtype, `InvalidInput` (`table.bad_name`).
        """
        table = self._handle(name)
        table.declare(schema)
        return table

    def open(self, name: str) -> Table:
        """The table `name`. Raises `NotFound` (`table.not_found`), `InvalidInput` (`table.bad_name`)."""
        table = self._handle(name)
        if not self.exists(name):
            raise NotFound(
                "table.not_found",
                f"there is no table {name!r}",
                remedy=f"There are: {', '.join(self.names()) or 'none yet'}.",
                table=name,
            )
        return table

    def exists(self, name: str) -> bool:
        """Whether there is a table `name`. Raises `InvalidInput` (`table.bad_name`)."""
        return self._root.holds(_checked(name))

    def names(self) -> list[str]:
        """The names of all tables, sorted."""
        return self._root.names()

    def write_copy(self, name: str, files: Iterable[tuple[str, bytes]]) -> None:
        """Put a table here that `Table.copy_at` read. Raises `Conflict` (`table.exists`)."""
        if self.exists(name):
            raise Conflict(
                "table.exists",
                f"there is a table {name!r} in {self.url} already",
                remedy="Nothing is restored over what is there. Name an empty place with LOOPLINE_TABLES_URL.",
                table=name,
            )
        copying.write(self._root.folder(name), files)

    def _handle(self, name: str) -> Table:
        _checked(name)
        with self._lock:
            if name not in self._handles:
                self._handles[name] = Table(name, self._root.folder(name), clock=self._clock, blocked=self.blocked)
            return self._handles[name]


def _checked(name: str) -> str:
    if len(name) > _LONGEST or not _NAME.fullmatch(name):
        raise InvalidInput(
            "table.bad_name",
            f"{name!r} cannot be a table's name",
            remedy=f"Use letters, digits, _ and -, in parts joined by dots, at most {_LONGEST} characters.",
        )
    return name
