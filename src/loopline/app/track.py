"""`ll.track`: log a run from any script into the local home, without a server."""

import atexit
import os
import sys
import traceback
from collections.abc import Mapping
from contextvars import ContextVar, Token
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from loopline.config import Settings
from loopline.errors import InvalidInput
from loopline.runs import tracking
from loopline.runs.home import RunHome
from loopline.runs.live import LiveRun
from loopline.runs.run import Status
from loopline.runs.secrets import known_secrets, masked_command, masked_text
from loopline.runs.surroundings import git_facts, libraries, machine_facts
from loopline.values import canonical_json

RUN = "LOOPLINE_RUN"
"""The variable that names the run which a started process joins."""

_PROJECT = "default"
_LONGEST_ERROR = 2_000
_current: ContextVar["Tracked | None"] = ContextVar("loopline_run", default=None)
_joined: set[str] = set()


class Tracked(LiveRun):
    """A run of this process. Log into it; it ends with its `with` block, by `finish()`, or with the process."""

    def __init__(self, home: RunHome, run_id: str, *, joined: bool) -> None:
        super().__init__(home, run_id)
        self._is_joined, self._process = joined, os.getpid()
        self._outer: Token[Tracked | None] | None = None
        atexit.register(self._at_exit)

    def __enter__(self) -> Self:
        """The run itself. Runs that start inside have it as parent."""
        self._outer = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the run: finished, failed with the error, or killed by Ctrl-C. The error goes on."""
        if self._outer is not None:
            _current.reset(self._outer)
        self._end(error)

    def finish(self, status: Status = "finished") -> None:
        """End the run; one that was joined goes on until the process ends that it was joined from."""
        atexit.unregister(self._at_exit)
        if self._is_joined:
            self.leave()
        else:
            super().finish(status)

    def _end(self, error: BaseException | None) -> None:
        if self._journal is None:  # finished by hand inside of the block
            return
        failed = error is not None and not (isinstance(error, SystemExit) and error.code in {None, 0})
        if failed and error is not None:
            self._log_error(error)
        self.finish("killed" if isinstance(error, KeyboardInterrupt) else "failed" if failed else "finished")

    def _log_error(self, error: BaseException) -> None:
        secrets = known_secrets(os.environ)
        told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        self.log_facts({"error": masked_text(told, secrets)[:_LONGEST_ERROR]})
        trace = "".join(traceback.format_exception(error))
        self.log_bytes("traceback.txt", masked_text(trace, secrets).encode(errors="replace"))

    def _at_exit(self) -> None:
        if os.getpid() == self._process:
            self._end(getattr(sys, "last_exc", None) or getattr(sys, "last_value", None))


def track(
    name: str, params: Mapping[str, Any] | None = None, *, project: str | None = None, home: str | Path | None = None
) -> Tracked:
    """Start a run of the experiment `name`, in LOOPLINE_HOME (`.loopline` by default), without a server.

        with ll.track("churn", params={"depth": 3}) as run:
            run.log(loss=0.3)

    In a process that `loopline track -- COMMAND` started, the first run of the process is that command's run. A run that starts
    inside of another's `with` block has it as parent. `project` is LOOPLINE_PROJECT or "default" where it is not said.
    Raises `InvalidInput` for an empty name, and `Unavailable` where the home cannot be written.
    """
    if not isinstance(name, str) or not name.strip():
        raise InvalidInput("run.no_name", f"{name!r} names no experiment", remedy='Write e.g. ll.track("churn").')
    opened = _home(Settings.read(home))
    to_join = os.environ.get(RUN)
    joins = bool(to_join) and home is None and to_join not in _joined and _is_there(opened, str(to_join))
    if joins:
        _joined.add(str(to_join))
    run_id = str(to_join) if joins else opened.start(_project(project), name, _parent(opened, to_join))
    made = Tracked(opened, run_id, joined=joins)
    if not joins:
        describe(made, sys.argv)
    if params:
        made.log_params(params)
    return made


def describe(run: LiveRun, command: list[str]) -> None:
    """Log what the run is started by and where: command, commit, machine, and the installed libraries as an artifact."""
    told = masked_command(command, known_secrets(os.environ))
    run.log_facts({"command": told, "process": os.getpid(), **machine_facts(), **git_facts(Path.cwd())})
    run.log_bytes("environment.json", canonical_json(libraries()))


@cache
def _home(settings: Settings) -> RunHome:
    return RunHome(settings)


def _project(said: str | None) -> str:
    return said or os.environ.get("LOOPLINE_PROJECT") or _PROJECT


def _parent(home: RunHome, to_join: str | None) -> str | None:
    around = _current.get()
    if around is not None:
        return around.id
    return to_join if to_join and _is_there(home, to_join) else None


def _is_there(home: RunHome, run_id: str) -> bool:
    with home.database().reading() as tx:
        return tracking.exists(tx, run_id)
