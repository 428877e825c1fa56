"""A run that is being logged, from the process it runs in."""

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loopline.errors import Conflict, InvalidInput, NotFound
from loopline.runs import tracking
from loopline.runs.home import RunHome
from loopline.runs.journal import Journal
from loopline.runs.plain import number, plain
from loopline.runs.recovery import copy, recover
from loopline.runs.run import Input, Status
from loopline.runs.secrets import masked
from loopline.values import digest

_EVERY = 0.5
_LONGEST_NAME = 250


class LiveRun:
    """What a script logs into. Metrics survive the death of the process when the call returns, and of the machine half a
    second later; all else is committed at once. Safe from many threads, and after a fork for metrics.
    """

    def __init__(self, home: RunHome, run_id: str) -> None:
        """Go on with a run that is in the home's database."""
        self.id = run_id
        self._home, self._database = home, home.database
        self._steps: dict[str, int] = {}
        self._counting = threading.Lock()
        self._journal: Journal | None = Journal(home.journals, run_id, home.writer())
        self._copied = 0
        self._copying = threading.Lock()
        self._ended = threading.Event()
        threading.Thread(target=self._follow, name=f"loopline {run_id}", daemon=True).start()

    def log(self, values: Mapping[str, Any] | None = None, /, *, step: int | None = None, **named: Any) -> None:
        """Log metrics: `log(loss=0.3, accuracy=0.9)` or `log({"val/loss": 0.3}, step=7)`.

        Without `step` each metric counts its own, from 0. Raises `InvalidInput` for what is no number.
        """
        for name, value in {**(values or {}), **named}.items():
            self.log_metric(name, value, step=step)

    def log_metric(self, name: str, value: Any, step: int | None = None) -> None:
        """Log one value; NaN and infinities are kept. Raises as `log`."""
        journal, measured = self._open_journal(), number(name, value)
        with self._counting:
            at = self._next_step(name, step)
            self._steps[name] = at
        journal.append(name, at, measured, self._home.clock.now())

    def log_params(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Log what the run was given. What looks like a secret is kept as "***"; what is no JSON value as its text.

        Raises `Conflict` for a param that was logged with another value.
        """
        self._open_journal()
        with self._database().transaction() as tx:
            tracking.log_params(tx, self.id, masked(plain({**(values or {}), **named})))

    def log_artifact(self, path: str | Path, name: str | None = None) -> None:
        """Keep a file, or every file of a folder, under its name or `name`. Raises `NotFound`."""
        source = Path(path)
        if not source.exists():
            raise NotFound("run.no_file", f"there is no file {path}", remedy="Log an artifact after it was written.")
        label = name or source.name
        files = [(label, source)]
        if source.is_dir():
            inside = sorted(file for file in source.rglob("*") if file.is_file())
            files = [(f"{label}/{file.relative_to(source).as_posix()}", file) for file in inside]
        for told, file in files:
            self.log_bytes(told, file.read_bytes())

    def log_bytes(self, name: str, content: bytes) -> str:
        """Keep bytes as the artifact `name`; their digest."""
        self._open_journal()
        kept = self._home.artifacts.put(content)
        with self._database().transaction() as tx:
            tracking.log_artifacts(tx, self.id, {name: kept})
        return kept

    def log_input(self, path: str | Path) -> None:
        """Log a file that the run read: its path and the digest of its bytes. Raises `NotFound`."""
        self._open_journal()
        source = Path(path)
        if not source.is_file():
            raise NotFound("run.no_input", f"there is no file {path}", remedy="Give the path of the file that is read.")
        read = Input(kind="file", name=str(path), version=digest(source.read_bytes()))
        with self._database().transaction() as tx:
            tracking.log_inputs(tx, self.id, [read])

    def log_facts(self, facts: Mapping[str, Any]) -> None:
        """Log how it is run. The last value of a name holds."""
        self._open_journal()
        with self._database().transaction() as tx:
            tracking.log_facts(tx, self.id, plain(facts))

    def leave(self) -> None:
        """Log no more from here; the run goes on."""
        self._close()

    def finish(self, status: Status = "finished") -> None:
        """End the run. Ending it again the same way changes nothing."""
        self._close()
        recover(self._database(), self._home.journals)
        with self._database().transaction() as tx:
            tracking.finish(tx, self.id, status, self._home.clock.now())

    def _close(self) -> None:
        journal, self._journal = self._journal, None
        if journal is None:
            return
        self._ended.set()
        try:
            self._copy(journal.path)
        except BaseException:
            journal.close(remove=False)
            raise
        journal.close(remove=True)

    def _follow(self) -> None:
        while not self._ended.wait(_EVERY):
            journal = self._journal
            if journal is not None:
                with contextlib.suppress(
                    Exception
                ):  # the journal keeps it: the next round, the end or a reader copies it
                    self._copy(journal.path)

    def _copy(self, path: Path) -> None:
        with self._copying:
            self._copied = copy(self._database(), self.id, path, self._copied)

    def _next_step(self, name: str, step: int | None) -> int:
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
            raise InvalidInput(
                "run.metric_name", f"{name!r} names no metric", remedy=f"Use 1 to {_LONGEST_NAME} characters."
            )
        return int(step) if step is not None else self._steps.get(name, -1) + 1

    def _open_journal(self) -> Journal:
        if self._journal is None:
            raise Conflict("run.closed", f"run {self.id} has ended", remedy="Start another one with ll.track(...).")
        return self._journal
