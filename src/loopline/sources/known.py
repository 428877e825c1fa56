"""When a row became known, where no column says so: a rule, declared and told in every replay as assumed."""

from dataclasses import dataclass

from loopline.errors import InvalidInput
from loopline.values import duration

KNOWN_AT = "known_at"


@dataclass(frozen=True)
class Modified:
    """A file's rows became known when the file was last written."""


@dataclass(frozen=True)
class Delayed:
    """A row became known `by` after the moment in `column`."""

    column: str
    by: str

    def __post_init__(self) -> None:
        duration(self.by)


KnownAt = str | Modified | Delayed


def modified() -> Modified:
    """Rows became known when their file was last written; a file that is written again gives its rows again.

    They get the column `known_at`. A copy that keeps the old time (`cp -p`, `rsync -t`) lies in a window that may have passed.
    """
    return Modified()


def delayed(column: str, by: str) -> Delayed:
    """Rows became known `by` after the moment in `column`, e.g. `delayed("ordered_at", by="2h")`.

    They get the column `known_at`. Take a delay that covers the slowest: one too short is a leak in every replay.
    """
    return Delayed(column, by)


def known_column(known_at: KnownAt) -> str:
    """The column that holds the times of knowledge: the one that is named, or `known_at` for a rule."""
    return known_at if isinstance(known_at, str) else KNOWN_AT


def refuse_taken(columns: list[str], known_at: KnownAt) -> None:
    """Raise `InvalidInput` "source.known_at_taken" where a rule would overwrite a column."""
    if not isinstance(known_at, str) and KNOWN_AT in columns:
        raise InvalidInput(
            "source.known_at_taken",
            f"the rows have a column {KNOWN_AT!r} already",
            remedy=f'Declare known_at="{KNOWN_AT}", or rename the column.',
        )
