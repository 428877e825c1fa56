"""What a check found out, as one value."""

import msgspec

from loopline.app.checking.bias import GroupTable
from loopline.app.checking.drift import Change
from loopline.app.checking.label import LabelFacts
from loopline.tables.proposal.facts import ColumnFacts
from loopline.tables.proposal.finding import Finding
from loopline.training.tells import Tell


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that `loopline check` found out. `schema` is Python code to paste; values that may be personal are masked."""

    command: str = "check"
    where: str
    files: list[str]
    format: str
    rows: int
    looked_at: int
    columns: list[ColumnFacts]
    findings: list[Finding]
    key: list[str]
    event_time: str | None
    known_at: list[str]
    personal: list[str]
    schema: str
    label: LabelFacts | None = None
    tells: list[Tell] = []
    groups: list[GroupTable] = []
    compared_with: str | None = None
    changes: list[Change] = []
