"""A crew: an executor that several threads give jobs to, each waiting for what it gave. What is lost is run again."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

import structlog

from loopline import errors
from loopline.errors import LooplineError, NotFound, Unavailable
from loopline.executors.executor import Executor, Finished, Job, Lost
from loopline.executors.transit import parcelled, transit_url, unparcelled
from loopline.pipelines.codecs import Value, bring, keep
from loopline.pipelines.engine import MOST_LOSSES
from loopline.pipelines.failure import Failure
from loopline.pipelines.graph import Constant
from loopline.storage.artifacts import ArtifactStore, open_artifacts

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.05
_IDLE_SECONDS = 120.0
_FIRST_WAIT = 0.25
# Errors of these parts come of where the job ran, and not of what it was asked.
_OF_THE_PLACE = {"step", "executor", "artifact", "value", "storage"}


@dataclass(frozen=True)
class Errand:
    """What is to be run: a function of ours, `module:qualname`, what it is given, and the digest of the user's code that it imports."""

    name: str
    function: str
    arguments: Mapping[str, Value]
    code: str | None = None


@dataclass
class _Sent:
    errand: Errand
    number: int
    future: "Future[Value]"
    attempt: int = 1
    not_before: float = 0.0

    @property
    def job(self) -> Job:
        arguments = {name: Constant(value) for name, value in self.errand.arguments.items()}
        return Job(
            "crew", self.number, self.attempt, self.errand.name, self.errand.function, self.errand.code, dict(arguments)
        )


class Crew:
    """Runs errands on the executor that `make` gives, at most `width` at a time. Any thread may give some.

    The executor is begun with the first errand, in a thread of its own, and ended when there was nothing to do for two minutes.
    `artifacts_url` is the home's: what goes along lies below it.
    """

    def __init__(
        self,
        make: Callable[[str], AbstractContextManager[Executor]],
        artifacts_url: str,
        *,
        width: int,
        durable: bool = True,
    ) -> None:
        self.artifacts_url, self.width, self.durable = artifacts_url, width, durable
        self.transit_url = transit_url(artifacts_url)
        self.transit: ArtifactStore = open_artifacts(self.transit_url, durable=False)  # lost ones are sent again
        self._make = make
        self._numbers = count(1)
        self._changed = threading.Condition()
        self._waiting: list[_Sent] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self, errand: Errand) -> "Future[Value]":
        """Give an errand; the future gives what it returned, kept in `transit`.

        The future raises what the function raised, if it is an error of ours, and `Unavailable` ("executor.job_failed", and
        what the executor raises) where the place is to blame.
        """
        sent = _Sent(errand, next(self._numbers), Future())
        with self._changed:
            if self._closed:
                raise Unavailable("executor.closed", "it is being stopped", remedy="It goes on when it is started.")
            self._waiting.append(sent)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="crew", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return sent.future

    def value(self, plain: Any) -> Value:
        """Plain data as an argument."""
        return keep(plain, self.transit)

    @contextmanager
    def parcel(self, content: bytes) -> Iterator[Value]:
        """Bytes as an argument, there until the block ends."""
        sent = keep(parcelled(content), self.transit)
        try:
            yield sent
        finally:
            self._remove(sent)

    def received(self, value: Value) -> bytes:
        """The bytes that a job returned by `parcelled`; they are gone after that."""
        content: bytes = bring(value, bytes, self.transit)
        self._remove(value)
        return unparcelled(content)

    def forget(self, future: "Future[Value]") -> None:
        """Want it no more: its job is killed, or what it returned removed."""
        if not future.cancel() and future.exception() is None:
            self._remove(future.result())

    def close(self) -> None:
        """Kill what runs, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _remove(self, value: Value) -> None:
        if value.data is None and value.text is None:
            self.transit.remove(value.digest)

    def _work(self) -> None:
        """The thread: an executor for as long as there is something to do, and another when there is again."""
        while True:
            self._with_executor()
            with self._changed:
                if self._closed or not self._waiting:
                    self._thread = None
                    return

    def _with_executor(self) -> None:
        running: dict[int, _Sent] = {}
        stopped: Exception = Unavailable("executor.closed", "it was stopped", remedy="Run it again.")
        try:
            with self._make(self.transit_url) as executor:
                try:
                    while self._go_on(running):
                        self._feed(executor, running)
                        for ended in executor.wait(_LOOK_SECONDS):
                            self._ended(ended, running)
                finally:
                    executor.close()
        except Exception as error:  # whoever waits has to hear of it; the next errand begins anew
            self._give_up(running, error)
        else:
            if self._closed:
                self._give_up(running, stopped)

    def _go_on(self, running: Mapping[int, _Sent]) -> bool:
        """Waits while there is nothing to do; False where it is to end."""
        with self._changed:
            if not (running or self._waiting or self._closed):
                self._changed.wait(_IDLE_SECONDS)
            return not self._closed and bool(running or self._waiting)

    def _feed(self, executor: Executor, running: dict[int, _Sent]) -> None:
        now = time.monotonic()
        with self._changed:
            self._waiting = [one for one in self._waiting if not one.future.cancelled()]
            unwanted = [one for one in running.values() if one.future.cancelled()]
            due = [one for one in self._waiting if one.not_before <= now][: max(0, self.width - len(running))]
        for sent in unwanted:
            executor.kill(running.pop(sent.number).job.key)
        for sent in due:
            job = sent.job
            if running and executor.room().cores < job.cores:
                return
            with self._changed:
                self._waiting.remove(sent)
            running[sent.number] = sent
            executor.start(job)

    def _ended(self, ended: Finished | Lost, running: dict[int, _Sent]) -> None:
        sent = running.pop(ended.key[1])
        if isinstance(ended, Finished) and ended.log is not None:
            self._show(ended.log)
        if isinstance(ended, Lost):
            self._lost(sent, ended.because)
        elif ended.performed.failure is not None:
            _settle(sent, _error(sent.errand, ended.performed.failure))
        elif ended.performed.result is not None and not _settle(sent, ended.performed.result):
            self._remove(ended.performed.result)

    def _show(self, printed: str) -> None:
        """What a job printed is shown as if it had been printed here, where results go to standard output."""
        with suppress(NotFound):  # another job printed the same
            sys.stderr.write(self.transit.get(printed).decode(errors="replace"))
            self.transit.remove(printed)

    def _lost(self, sent: _Sent, because: str) -> None:
        log.warning("job_lost", job=sent.errand.name, attempt=sent.attempt, because=because)
        if sent.attempt >= MOST_LOSSES:
            said = f"{sent.errand.name} was lost {MOST_LOSSES} times, the last time since {because}"
            _settle(sent, _failed(said))
            return
        sent.not_before = time.monotonic() + _FIRST_WAIT * 4 ** (sent.attempt - 1)
        sent.attempt += 1
        with self._changed:
            self._waiting.append(sent)

    def _give_up(self, running: dict[int, _Sent], error: Exception) -> None:
        with self._changed:
            left, self._waiting = [*running.values(), *self._waiting], []
        for sent in left:
            _settle(sent, error)


def _settle(sent: _Sent, outcome: Value | Exception) -> bool:
    """Tell whoever waits; False where nobody does any more."""
    try:
        if isinstance(outcome, Exception):
            sent.future.set_exception(outcome)
        else:
            sent.future.set_result(outcome)
    except InvalidStateError:
        return False
    return True


def _error(errand: Errand, failure: Failure) -> LooplineError:
    code = failure.raised.code
    if not code or code.partition(".")[0] in _OF_THE_PLACE:
        return _failed(f"{errand.name} failed: {failure.message}")
    kind = getattr(errors, failure.raised.name.rpartition(".")[2], LooplineError)
    plain = issubclass(kind, LooplineError) and kind.__init__ is LooplineError.__init__
    made: LooplineError = (kind if plain else errors.InvalidInput)(code, failure.message, remedy=failure.remedy)
    return made


def _failed(said: str) -> Unavailable:
    return Unavailable(
        "executor.job_failed", said, remedy="Run it again: what is finished stays finished. The log has more."
    )
