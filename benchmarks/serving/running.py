"""A server that is being measured: started on one core, asked, ended."""

import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from serving.tree import command_of, end, favour, processor_seconds, proportional_mb, tree

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"), "1")

_OK = 200


@dataclass(frozen=True)
class Ask:
    """A request: path, headers, body."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Failed(Exception):
    """Says what went wrong with a contestant."""


class Running:
    """A context in which a server runs."""

    def __init__(
        self, command: list[str], folder: Path, port: int, environment: Mapping[str, str], *, favoured: bool = False
    ) -> None:
        self.command, self.port = command, port
        self._favoured = favoured
        self._folder, self._environment = folder, environment
        self._out, self._log = folder / "server.out", folder / "server.log"

    def __enter__(self) -> Self:
        with self._out.open("wb") as out, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self._folder,
                env={**os.environ, **THREADS, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self._process.pid, patience=20)
        self._process.wait()

    def told(self, seconds: float = 180.0) -> Any:
        """The JSON that it writes to its standard output once it serves. Raises `Failed`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(ValueError):
                return json.loads(self._out.read_text())
            self.pids  # noqa: B018 - favours them
            time.sleep(0.1)
        raise Failed(f"said nothing within {seconds:g} s: {self._last_words()}")

    @property
    def pids(self) -> list[int]:
        found = tree(self._process.pid)
        if self._favoured:  # some may have come since
            favour(found)
        return found

    def wait(self, seconds: float) -> None:
        """Until its port is listened at. Raises `Failed`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise Failed(f"ended with {self._process.returncode}: {self._last_words()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
            self.pids  # noqa: B018 - favours them
        raise Failed(f"did not listen within {seconds:g} s: {self._last_words()}")

    def answer(self, ask: Ask, seconds: float = 30.0) -> bytes:
        """The body of a 200 to `ask`, which is sent again until then. Raises `Failed`."""
        deadline, said = time.monotonic() + seconds, "nothing"
        while time.monotonic() < deadline:
            try:
                status, body = self._once(ask)
            except (OSError, http.client.HTTPException) as error:
                said = repr(error)
            else:
                if status == _OK:
                    return body
                said = f"{status} {body[:200]!r}"
            time.sleep(0.2)
        raise Failed(f"did not answer with 200 within {seconds:g} s but: {said}")

    def memory_mb(self, part: str = "") -> float:
        """Proportional memory of all its processes, or of those with `part` in their command line."""
        return proportional_mb([pid for pid in self.pids if part in command_of(pid)])

    def processor_seconds(self) -> float:
        return processor_seconds(self.pids)

    def _once(self, ask: Ask) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST", ask.path, ask.body, dict(ask.headers))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _last_words(self) -> str:
        return " ".join(self._log.read_text(errors="replace").split())[-300:]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
