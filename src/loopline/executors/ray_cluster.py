"""Ray as this process is connected to it: a cluster that runs, or a small one of its own that ends with it. Never without the token."""

import logging
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from loopline.errors import AccessDenied, Conflict, InvalidInput, NotFound, Unavailable

# Ray reads how it authenticates once, when it is loaded. What it would tell its makers, and what it would do for `uv run`, is not wanted.
_BEFORE_LOADING = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_LOADED_BEFORE = "ray" in sys.modules and os.environ.get("RAY_AUTH_MODE") != "token"
os.environ.update(_BEFORE_LOADING)
os.environ.setdefault(
    "RAY_NUM_REDIS_GET_RETRIES", "60"
)  # seconds that a new head has to answer; a busy machine needs them

try:
    import ray
except ImportError as problem:
    raise Unavailable(
        "executor.ray_missing", "running steps on Ray needs Ray", remedy="pip install 'loopline[ray]'"
    ) from problem

log = structlog.get_logger(__name__)


def _log_what_ray_tells(told: dict[str, Any], ignore_prefix: bool = False) -> None:  # noqa: ARG001, FBT001, FBT002 - as Ray calls it
    """Of nodes that died, for example: Ray would print it on standard output, amidst a command's answer."""
    log.warning("ray_told", said=" ".join(map(str, told.get("lines", ())))[:_LONGEST_SAID])


ray._private.worker.print_to_stdstream = _log_what_ray_tells  # noqa: SLF001 - there is no setting for it

# In a thread Ray leaves SIGTERM alone, which is as it should be, and says so each time.
logging.getLogger("ray._private.worker").addFilter(lambda record: "SIGTERM" not in record.getMessage())

__all__ = ["Node", "RayCluster", "ray", "read_token"]  # whoever needs Ray takes it from here, loaded as it has to be

_OBJECTS = 80 * 2**20  # bytes; nothing but small answers goes through Ray's own store
_LONGEST_FOLDER = 30  # Ray's sockets lie some 70 characters below it, and their paths may have 107
_LONGEST_SAID = 500


@dataclass(frozen=True)
class Node:
    """A living node and all it has: its id, cores, bytes of memory, resources by name, labels."""

    id: str
    cores: float
    memory: int
    resources: dict[str, float]
    labels: dict[str, str]


class RayCluster:
    """The connection of this process to Ray; there can be one.

    `address` is HOST:PORT of a head; this machine has to be one of the cluster's nodes. Without one a cluster of this machine alone is started, with
    `cores` and `memory` (bytes), and ends with the connection. The token is what `token_path` has; for a cluster of its own it is made where it is missing.
    """

    def __init__(
        self, token_path: Path, address: str = "", *, cores: float | None = None, memory: int | None = None
    ) -> None:
        """Raises `Unavailable` "executor.ray_unreachable" and "executor.ray_loaded", `Conflict` "executor.ray_connected", `InvalidInput`
        "executor.ray_address", and what `read_token` raises.
        """
        if _LOADED_BEFORE:
            raise Unavailable(
                "executor.ray_loaded",
                "Ray was loaded before without authentication",
                remedy="Import it later, or set RAY_AUTH_MODE=token for the process.",
            )
        if ray.is_initialized():
            raise Conflict(
                "executor.ray_connected", "this process is connected to Ray already", remedy="Use that, or end it."
            )
        if "://" in address or (address and ":" not in address):
            raise InvalidInput(
                "executor.ray_address",
                f"{address!r} is not the address of a head",
                remedy="Give HOST:PORT of what `ray start --head` started; Ray's client protocol is not spoken.",
            )
        os.environ.pop("RAY_AUTH_TOKEN", None)  # it would go before the file
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(read_token(token_path, make=not address))
        self._folder = None if address else Path(tempfile.mkdtemp(prefix="ll-ray-", dir=_short_folder()))
        try:
            if self._folder is not None:
                self._start(self._folder, cores or float(os.cpu_count() or 1), memory)
            else:
                ray.init(address, log_to_driver=False, configure_logging=False)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            self.close()
            said = str(error).strip()[:_LONGEST_SAID]
            raise Unavailable(
                "executor.ray_unreachable",
                f"no connection to Ray{' at ' + address if address else ''}: {said}",
                remedy="Check the address, that this machine is a node of the cluster, and that all nodes were started with RAY_AUTH_MODE=token"
                " and the token of LOOPLINE_RAY_TOKEN_PATH.",
            ) from error

    @property
    def address(self) -> str:
        """HOST:PORT of the head."""
        return str(ray.get_runtime_context().gcs_address)

    def nodes(self) -> list[Node]:
        """The nodes that live. Raises `Unavailable` "executor.ray_unreachable"."""
        try:
            found = ray.nodes()
        except (OSError, RuntimeError, ray.exceptions.RayError) as error:
            raise Unavailable(
                "executor.ray_unreachable",
                f"the cluster's head does not answer: {error}",
                remedy="Start the cluster again; steps that were running are run again.",
            ) from error
        return [_node(one) for one in found if one["Alive"]]

    def close(self) -> None:
        """End the connection, and the cluster if it was started here; its folder is removed."""
        ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, folder: Path, cores: float, memory: int | None) -> None:
        with _environment(TMPDIR=str(folder)):
            ray.init(
                num_cpus=cores,
                _memory=memory,
                object_store_memory=_OBJECTS,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                _temp_dir=str(folder),
            )


def read_token(path: Path, *, make: bool) -> Path:
    """The file with the cluster's token; with `make` it is made where there is none: 64 hex digits that only its owner may read.

    Raises `NotFound` "executor.ray_token_missing" and `AccessDenied` "executor.ray_token_open".
    """
    if make and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        pending = path.with_name(f".{path.name}-{os.getpid()}")
        with os.fdopen(os.open(pending, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        pending.rename(path)
    if not path.is_file():
        raise NotFound(
            "executor.ray_token_missing",
            f"there is no token of the Ray cluster at {path}",
            remedy="Put the token that the cluster was started with there, with mode 600, or set LOOPLINE_RAY_TOKEN_PATH.",
        )
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise AccessDenied(
            "executor.ray_token_open",
            f"others than its owner may read {path}",
            remedy=f"chmod 600 {path}, and take a new token if others had this one.",
        )
    return path.resolve()


def _node(found: dict[str, Any]) -> Node:
    resources = {name: float(value) for name, value in found["Resources"].items()}
    return Node(
        str(found["NodeID"]),
        resources.get("CPU", 0.0),
        int(resources.get("memory", 0)),
        resources,
        dict(found.get("Labels") or {}),
    )


def _short_folder() -> str:
    usual = tempfile.gettempdir()
    return usual if len(usual) <= _LONGEST_FOLDER else "/tmp"  # noqa: S108 - a folder of our own is made in it, for us alone


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """What processes that are started meanwhile find in their environment."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
