"""Triggers: what makes a pipeline be executed when something happens, and not when a clock says so."""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

import msgspec

from loopline.errors import InvalidInput

ALARM = "alarm"
WEBHOOK = "webhook"

_HOOK = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")


class OnTable(msgspec.Struct, frozen=True, tag="table", kw_only=True, omit_defaults=True):
    """Fires when rows were added to `table`: once for all versions since the last tick, or for `each`."""

    table: str
    each: bool = False
    params: dict[str, Any] = {}

    @property
    def sentence(self) -> str:
        """What it says, for people."""
        return f"each new version of {self.table}" if self.each else f"new versions of {self.table}"


class OnAlarm(msgspec.Struct, frozen=True, tag="alarm", kw_only=True, omit_defaults=True):
    """Fires when an incident is opened; `kind` and `model` say which, empty for any. The param `incident` is given its id."""

    kind: str = ""
    model: str = ""
    incident: str = ""
    params: dict[str, Any] = {}

    @property
    def sentence(self) -> str:
        """What it says, for people."""
        return f"{self.kind or 'any'} alarm on {self.model or 'any model'}"

    def takes(self, happened: Literal["alarm", "webhook"], subject: dict[str, str]) -> bool:
        """Whether what happened is for it."""
        fits = self.kind in {"", subject.get("kind")} and self.model in {"", subject.get("model")}
        return happened == ALARM and fits

    def given(self, subject: Mapping[str, str]) -> dict[str, Any]:
        """The params of an execution that this fires."""
        return self.params | ({self.incident: subject.get("incident", "")} if self.incident else {})


class OnWebhook(msgspec.Struct, frozen=True, tag="webhook", kw_only=True, omit_defaults=True):
    """Fires when a signed message arrives at the `hook`. The param `body` is given what the message says."""

    hook: str
    body: str = ""
    params: dict[str, Any] = {}

    @property
    def sentence(self) -> str:
        """What it says, for people."""
        return f"webhook {self.hook}"

    def takes(self, happened: Literal["alarm", "webhook"], subject: dict[str, str]) -> bool:
        """Whether what happened is for it."""
        return happened == WEBHOOK and subject.get("hook") == self.hook

    def given(self, subject: Mapping[str, str]) -> dict[str, Any]:
        """The params of an execution that this fires. A body that is no JSON is given as text."""
        if not self.body:
            return self.params
        said: Any = subject.get("body", "{}")
        with suppress(msgspec.DecodeError):
            said = msgspec.json.decode(said)
        return self.params | {self.body: said}


def on_table(table: str, *, each: bool = False, params: dict[str, Any] | None = None) -> OnTable:
    """Execute a pipeline when rows were added to a table: once for all versions since the last tick, with their time as window.

    With `each` every version has a tick of its own. Versions that add no rows (compacted, evolved, erased) are passed over.
    Raises `InvalidInput` for an empty name.
    """
    if not table or not isinstance(table, str):
        raise InvalidInput(
            "schedule.no_table", f"{table!r} names no table", remedy='Write e.g. ll.on_table("arrivals").'
        )
    return OnTable(table=table, each=each, params=dict(params or {}))


def on_alarm(kind: str = "", *, model: str = "", incident: str = "", params: dict[str, Any] | None = None) -> OnAlarm:
    """Execute a pipeline when an incident is opened: of this `kind` (`"harm"`, `"data_fault"`, `"decision_harm"`), on this `model`.

    `incident` names the param of the pipeline that is to hold the incident's id.
    """
    return OnAlarm(kind=kind, model=model, incident=incident, params=dict(params or {}))


def on_webhook(hook: str, *, body: str = "", params: dict[str, Any] | None = None) -> OnWebhook:
    """Execute a pipeline when a message with a valid signature arrives at `POST /hooks/PROJECT/HOOK`.

    `body` names the param of the pipeline that is to hold what the message says: the value that its JSON is, or its text. The body
    of the pipeline hands it on to a step, which looks into it. `loopline schedules hook HOOK` makes its secret. Raises `InvalidInput` for a name that an address cannot hold.
    """
    if not _HOOK.fullmatch(hook):
        raise InvalidInput(
            "schedule.bad_hook",
            f"{hook!r} cannot be part of an address",
            remedy="Use small letters, digits, - and _.",
        )
    return OnWebhook(hook=hook, body=body, params=dict(params or {}))
