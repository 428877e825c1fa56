"""A change somebody or something made near the onset of a harm: what a cause may be that no column shows."""

from datetime import datetime

import msgspec


class Change(msgspec.Struct, frozen=True):
    """What changed at `at` (UTC). `kind` is a kind of cause; `columns` are the features that it reaches, none where it reaches no input.

    `near` is how well its time fits the onset, in [0, 1].
    """

    kind: str
    subject: str
    at: datetime
    sentence: str
    columns: tuple[str, ...] = ()
    near: float = 1.0
