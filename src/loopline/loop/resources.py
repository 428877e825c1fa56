"""What a turn of the loop works with: opened once by the app, handed down."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loopline.access.pseudonyms import Pseudonyms
from loopline.clock import Clock
from loopline.executors.crew import Crew
from loopline.incidents.notify import Channels
from loopline.loop.erasers import Erasing
from loopline.models.signing import SigningKey
from loopline.monitoring.diagnosis.question import Diagnoser
from loopline.storage.artifacts import ArtifactStore
from loopline.storage.database import Database
from loopline.storage.locks import SharedLock
from loopline.tables.tables import Tables


@dataclass(frozen=True)
class Resources:
    """One home, opened. `seed` is what all chance derives from.

    Whoever reads rows and writes what comes of them shares `activity`, which an erasure holds alone. `erasing` gives what the home
    registers for that. Heavy work is given to the `crew`; without one it is done in this process.
    The `diagnoser` ranks the causes of a harm; without one the inputs that moved are told.
    """

    database: Database
    tables: Tables
    artifacts: ArtifactStore
    key: SigningKey
    clock: Clock
    channels: Channels
    seed: int
    manifests: Path
    pseudonyms: Pseudonyms
    activity: SharedLock
    erasing: Callable[[], Erasing]
    crew: Crew | None = None
    diagnoser: Diagnoser | None = None
