"""A real S3-speaking server for tests: started on a temporary folder, gone with the process that started it."""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from loopline.errors import Unavailable

# The shell stops the server when its standard input ends: however the tests die, the server goes with them.
_SUPERVISE = '"$@" & server=$!; read -r _; kill -KILL $server; wait $server'
_READY_WITHIN = 30.0


@dataclass(frozen=True)
class S3:
    """A server that runs: `environment` is what every client of S3 reads, `folder` holds a folder for each bucket."""

    environment: Mapping[str, str]
    folder: Path

    def make_bucket(self, name: str) -> str:
        """The URL of a new bucket."""
        (self.folder / name).mkdir()
        return f"s3://{name}"


@contextmanager
def running_s3() -> Iterator[S3]:
    """A server on a free local port; stopped at the end of the block. It honours conditions of PUT, and checks no credentials.

    Raises `Unavailable` where localbucket is not installed.
    """
    if find_spec("localbucket") is None:
        raise Unavailable(
            "testing.s3_missing",
            "the tests need a server that speaks S3 and found none",
            remedy="Install it: pip install localbucket.",
        )
    folder = Path(tempfile.mkdtemp(prefix="loopline-s3-"))
    port = _free_port()
    server = _start(folder, port)
    try:
        _wait_until_ready(server, port)
        yield S3(_environment(port), folder)
    finally:
        server.communicate()
        shutil.rmtree(folder, ignore_errors=True)


def _environment(port: int) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-central-1",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "localbucket", str(folder), "--port", str(port)]
    return subprocess.Popen(  # noqa: S603 - this Python and an installed package
        ["/bin/sh", "-c", _SUPERVISE, "supervise", *command],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in the terminal ends the tests first, then the server
    )  # fmt: skip


def _wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None or time.monotonic() > deadline:
            raise Unavailable("testing.s3_failed", "localbucket did not start")
        time.sleep(0.05)
