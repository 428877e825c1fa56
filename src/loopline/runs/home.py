"""Where runs are logged into: the database, the artifacts and the journals of a home."""

import os
import threading
from itertools import count
from pathlib import Path

from loopline.clock import Clock, SystemClock
from loopline.config import Settings
from loopline.errors import InvalidInput
from loopline.runs import tracking
from loopline.storage.artifacts import ArtifactStore, open_artifacts
from loopline.storage.database import Database
from loopline.storage.migrations import upgrade
from loopline.values import derive_id, micros

_NUMBERS = count(1)
_OPENING = threading.Lock()


class RunHome:
    """The part of a home that runs need, made on first use; many processes may make it at once."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        """Raises `InvalidInput` where the home is no folder, and `Unavailable` where its database cannot be reached."""
        self.settings, self.clock = settings, clock or SystemClock()
        if settings.home.exists() and not settings.home.is_dir():
            raise InvalidInput("run.home", f"{settings.home} is not a folder", remedy="Set LOOPLINE_HOME to a folder.")
        settings.home.mkdir(parents=True, exist_ok=True)
        self.artifacts: ArtifactStore = open_artifacts(settings.artifacts_url, durable=settings.durable)
        self._databases: dict[int, Database] = {}
        upgrade(self.database())

    @property
    def journals(self) -> Path:
        """The folder of the journals of live runs."""
        return self.settings.home / "runs"

    def database(self) -> Database:
        """The database of this process: connections do not survive a fork."""
        with _OPENING:
            if os.getpid() not in self._databases:
                opened = Database.open(self.settings.database_url, durable=self.settings.durable)
                self._databases = {os.getpid(): opened}
            return self._databases[os.getpid()]

    def start(self, project: str, experiment: str, parent: str | None) -> str:
        """Start a run; its id."""
        now = self.clock.now()
        run_id = derive_id("run", 0, os.uname().nodename, os.getpid(), micros(now), next(_NUMBERS))
        with self.database().transaction() as tx:
            tracking.start(tx, project=project, experiment=experiment, run_id=run_id, at=now, parent=parent)
        return run_id

    def writer(self) -> str:
        """A name that no other journal of a run has."""
        return f"{os.getpid()}-{next(_NUMBERS)}-{micros(self.clock.now())}"
