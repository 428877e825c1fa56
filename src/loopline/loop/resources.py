"""What a turn of the loop works with: opened once by the app, handed down."""

from dataclasses import dataclass
from pathlib import Path

from loopline.access.pseudonyms import Pseudonyms
from loopline.clock import Clock
from loopline.incidents.notify import Channels
from loopline.models.signing import SigningKey
from loopline.storage.artifacts import ArtifactStore
from loopline.storage.database import Database
from loopline.tables.tables import Tables


@dataclass(frozen=True)
class Resources:
    """One home, opened. `seed` is what all chance derives from."""

    database: Database
    tables: Tables
    artifacts: ArtifactStore
    key: SigningKey
    clock: Clock
    channels: Channels
    seed: int
    manifests: Path
    pseudonyms: Pseudonyms
