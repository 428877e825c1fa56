"""A scoring process as a child of this one: started, watched, restarted when it dies, drained when stopped."""

import fcntl
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import structlog

from loopline.config import Settings
from loopline.errors import Conflict, Unavailable

MODULE = "loopline.server.scoring"

_DRAIN_SECONDS = 15.0
_POLL_SECONDS = 0.05
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 10.0
_STEADY_SECONDS = 30.0

_log = structlog.get_logger(__name__)


class ScoringProcess:
    """Runs `python -m loopline.server.scoring` on the settings' home, host and scoring port; it dates its predictions `behind`
    the real time.

    Its methods may be called from any thread. The child has a session of its own, so a Ctrl-C in the terminal reaches only
    the parent, which then drains the child by `stop`. A parent that is killed leaves the child serving, until the next parent
    on the same home and port ends it by `end_outlived`.
    """

    def __init__(self, settings: Settings, *, behind: timedelta = timedelta()) -> None:
        self._settings = settings
        self._behind = behind
        self._guard = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._supervisor: threading.Thread | None = None
        self._stopping = threading.Event()
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """The child's process id, None while there is none."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    @property
    def log_path(self) -> Path:
        """Where the child's log goes."""
        return self._settings.home / "log" / f"scoring-{self._settings.scoring_port}.log"

    def start(self) -> None:
        """Start the child unless it runs; it is not ready yet when this returns."""
        with self._guard:
            self._stopping.clear()
            if self.pid is None:
                self._child = self._spawn()

    def end_outlived(self, timeout: float = _DRAIN_SECONDS) -> None:
        """End the child of a parent that was killed, as `stop` does. Raises `Conflict` "scoring.outlived" where it cannot be."""
        deadline = time.monotonic() + timeout
        outlived = self._holder()
        if outlived is None:
            return
        _log.warning("ending the scoring process of a parent that died", pid=outlived)
        _signal(outlived, signal.SIGTERM)
        while time.monotonic() < deadline and self._holder() is not None:
            time.sleep(_POLL_SECONDS)
        if self._holder() is not None:
            _signal(outlived, signal.SIGKILL)

    def ready(self, timeout: float = 30.0) -> None:
        """Wait until it serves. Raises `Unavailable`: "scoring.died" where it ended and nobody restarts it, and
        "scoring.not_ready" after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._answers():
                return
            if self.pid is None and self._supervisor is None:
                raise Unavailable(
                    "scoring.died", "the scoring process ended before it was ready", remedy=f"See {self.log_path}."
                )
            time.sleep(_POLL_SECONDS)
        raise Unavailable(
            "scoring.not_ready",
            f"the scoring process was not ready within {timeout:g} s",
            remedy=f"Is there a manifest, and can its models be loaded? See {self.log_path}.",
        )

    def supervise(self) -> None:
        """Start the child, and from now on start it again whenever it dies, sooner or later: the pause doubles with each death
        that follows soon after a start, up to ten seconds. Returns at once; `stop` ends it.
        """
        self.start()
        with self._guard:
            if self._supervisor is None:
                self._supervisor = threading.Thread(target=self._watch, name="scoring-supervisor", daemon=True)
                self._supervisor.start()

    def stop(self, timeout: float = _DRAIN_SECONDS) -> None:
        """End it by SIGTERM: requests under way are answered, the spool is sealed. After `timeout` seconds it is killed."""
        self._stopping.set()
        supervisor = self._supervisor
        if supervisor is not None:
            supervisor.join()
        with self._guard:
            self._supervisor = None
            if self._child is not None:
                _end(self._child, timeout)
                self._child = None

    def _watch(self) -> None:
        delay, started = _FIRST_DELAY, time.monotonic()
        while not self._stopping.is_set():
            if self.pid is not None:
                self._stopping.wait(_POLL_SECONDS)
                continue
            steady = time.monotonic() - started >= _STEADY_SECONDS
            delay = _FIRST_DELAY if steady else delay
            self._note_death(delay)
            if self._stopping.wait(delay):
                return
            started, delay = time.monotonic(), min(2 * delay, _LONGEST_DELAY)
            self._restart()

    def _restart(self) -> None:
        with self._guard:
            if not self._stopping.is_set():
                self._child = self._spawn()
                self.restarts += 1

    def _note_death(self, delay: float) -> None:
        code = self._child.returncode if self._child is not None else None
        _log.warning("scoring process died", exit_code=code, restart_in_seconds=delay, log=str(self.log_path))

    def _spawn(self) -> subprocess.Popen[bytes]:
        settings = self._settings
        command = [sys.executable, "-m", MODULE, "--home", str(settings.home)]
        command.append(f"--behind={self._behind.total_seconds()}")  # joined: what begins with a dash is no option
        command += ["--host", settings.host, "--port", str(settings.scoring_port)]
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log, self._pid_path.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            child = subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
                command,
                env=environment(settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[
                    held.fileno()
                ],  # so the lock lives as long as the child, and with it the pid is surely its own
            )
            held.write(str(child.pid))
            return child

    @property
    def _pid_path(self) -> Path:
        return self.log_path.with_suffix(".pid")

    def _holder(self) -> int | None:
        """The pid of a child that lives, whoever started it."""
        if not self._pid_path.exists():
            return None
        with self._pid_path.open() as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return _read_pid(held.read(), self._pid_path)
        return None

    def _answers(self) -> bool:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._settings.host, self._settings.host)  # noqa: S104 - compared, not bound
        connection = http.client.HTTPConnection(host, self._settings.scoring_port, timeout=1.0)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def environment(settings: Settings) -> Mapping[str, str]:
    """The environment of a child that shall have the same settings: this process's own, with them in it."""
    return {
        **os.environ,
        "LOOPLINE_HOME": str(settings.home),
        "LOOPLINE_ARTIFACTS_URL": settings.artifacts_url or str(settings.home / "artifacts"),
        "LOOPLINE_ACCESS_LOG": "1" if settings.access_log else "0",
        "LOOPLINE_WORKERS": str(settings.workers),
        "LOOPLINE_SYNC_PREDICTIONS": "1" if settings.sync_predictions else "0",
        "LOOPLINE_DURABLE": "1" if settings.durable else "0",
    }


def _read_pid(text: str, path: Path) -> int:
    """Empty where the parent died in the moment between starting the child and noting its pid."""
    if not text.isdigit():
        raise Conflict(
            "scoring.outlived",
            f"a scoring process that nobody knows the pid of holds {path}",
            remedy="End the process that listens on the scoring port.",
        )
    return int(text)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _end(child: "subprocess.Popen[bytes]", timeout: float) -> None:
    child.terminate()
    try:
        child.wait(timeout)
    except subprocess.TimeoutExpired:
        _log.warning("scoring process did not drain in time", pid=child.pid)
        child.kill()
        child.wait()
