"""What a check found."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from loopline.config import Settings
from loopline.storage.artifacts import ArtifactStore
from loopline.storage.database import Database
from loopline.tables.tables import Tables

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """`code` names the kind of finding. `what` was found, it `means` that, and the `remedy` is that. An error is damage or
    something that does not work; a warning may become one; a note is good to know. `mend` puts it right and says what it did.
    """

    code: str
    severity: Severity
    what: str
    means: str
    remedy: str
    mend: Callable[[], str] | None = field(default=None, repr=False)
    mended: str = ""

    @property
    def mendable(self) -> bool:
        """Whether `--mend` can put it right."""
        return self.mend is not None

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "code": self.code,
            "severity": self.severity,
            "what": self.what,
            "means": self.means,
            "remedy": self.remedy,
            "mendable": self.mendable,
            "mended": self.mended,
        }


@dataclass(frozen=True)
class Examined:
    """The home that is looked at, its parts opened one by one, nothing migrated and nothing made. `database` is None where it cannot be
    opened. `deep` reads every byte. `running` says whether `up` holds the home.
    """

    settings: Settings
    database: Database | None
    tables: Tables
    artifacts: ArtifactStore
    now: datetime
    deep: bool
    running: bool


Check = Callable[[Examined], Iterable[Finding]]
