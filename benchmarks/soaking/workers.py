"""The workers as the kernel sees them: which live, which connections each holds; and killing one."""

import http.client
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from soaking.site import ENDPOINT, SECRET

READY = "/v2/health/ready"
_OK = 200
_ESTABLISHED = "01"


@dataclass(frozen=True)
class Killed:
    """A worker that was killed: when, the ports that its callers' connections came from, and the seconds until every worker
    answered again (None: not within a minute). `together` says that all workers were killed at once.
    """

    at: float
    ports: frozenset[int]
    back: float | None
    together: bool = False
    lies: int = 0


def workers_of(parent: int) -> set[int]:
    """The children of the scoring process."""
    found = set()
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        found |= {int(pid) for pid in task.read_text().split()}
    return found


def kill(parent: int, victims: set[int], count: int, port: int, *, together: bool = False) -> Killed:
    """Kill `victims` with SIGKILL and wait until `count` workers answer again.

    They are stopped first, so that the connections counted are all they ever had.
    """
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    ports = frozenset(remote for pid in victims for remote in _callers_of(pid, port))
    at = time.monotonic()
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    survivors = workers_of(parent) - victims
    back, lies = _wait(parent, victims, survivors, count, port)
    return Killed(at, ports, back and back - at, together, lies)


def all_answer(parent: int, count: int, port: int) -> bool:
    """Wait until each of `count` workers says that it is ready; False where that took a minute."""
    return _wait(parent, set(), set(), count, port)[0] is not None


def probe(port: int) -> int | None:
    """The status that readiness is answered with; None where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=0.5)
    try:
        return _status(connection, "GET", READY)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _wait(parent: int, victims: set[int], answering: set[int], count: int, port: int) -> tuple[float | None, int]:
    """When all `count` workers answered, and how often "ready" was said by one that then did not predict."""
    deadline, lies, answering = time.monotonic() + 60, 0, set(answering)
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=0.5)
        with suppress(OSError, http.client.HTTPException):
            if _status(connection, "GET", READY) == _OK:
                local = connection.sock.getsockname()[1]
                present = workers_of(parent) - victims
                answering |= {pid for pid in present - answering if local in _callers_of(pid, port)}
                lies += _status(connection, "POST", f"/predict/{ENDPOINT}") != _OK
                if len(answering & present) == count:
                    return time.monotonic(), lies
        connection.close()
        time.sleep(0.01)
    return None, lies


def _status(connection: http.client.HTTPConnection, method: str, path: str) -> int:
    body = b'{"rows": []}' if method == "POST" else None
    connection.request(method, path, body, {"Authorization": f"Bearer {SECRET}"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _callers_of(pid: int, port: int) -> set[int]:
    """The remote ports of the connections to `port` that a process holds."""
    inodes = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                inodes.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *rest = line.split()
        if int(local.partition(":")[2], 16) == port and state == _ESTABLISHED and rest[5] in inodes:
            found.add(int(remote.partition(":")[2], 16))
    return found
