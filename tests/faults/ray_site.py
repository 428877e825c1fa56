"""Two hosts, as far as the network goes: two namespaces joined by a cable, each with a node of one Ray cluster; and a home that both see."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from loopline.config import Settings
from loopline.pipelines import reading
from loopline.pipelines.executions import submit
from loopline.pipelines.home import PipelineHome
from loopline.pipelines.load import pipelines_in
from loopline.pipelines.planning import plan

WITHIN = 240.0
PORT = 6379
_STARTS = 4

# `ray start`, with more patience than the half minute that is written into it: this machine may have much else to do.
START = """
import time
from types import SimpleNamespace

import ray._private.node
from ray.scripts.scripts import main

ray._private.node.time = SimpleNamespace(**{**vars(time), "monotonic": lambda: time.monotonic() / 6})
main()
"""

PIPELINE = """
import os
import time

import loopline as ll


def say(text: str) -> None:
    handle = os.open(os.environ["SEEN"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, f"{text} {os.readlink('/proc/self/ns/net')}\\n".encode())
    os.close(handle)


@ll.step
def square(number: int, seconds: float) -> int:
    say(f"begun {number}")
    time.sleep(seconds)
    say(f"ended {number}")
    return number * number


@ll.step
def total(squares: list[int]) -> int:
    return sum(squares)


@ll.step(cores=2, hints={"ray": {"resources": {"tape": 1}}})
def record(number: int) -> int:
    say(f"begun {number}")
    return number


@ll.step
def nothing(number: int) -> int:
    say(f"begun {number}")
    return number


@ll.pipeline
def growing(number: int):
    return record(nothing(number))


@ll.pipeline
def squares(count: int, seconds: float):
    return total(square.each(list(range(count)), seconds=seconds))
"""


def can_make_namespaces() -> bool:
    """Whether this user may make network namespaces."""
    name = f"ll-try-{os.getpid()}"
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    except OSError:
        return False
    if made:
        subprocess.run(["ip", "netns", "delete", name], check=True)
    return made


class RaySite:
    """A head on 10.77.0.1, another node on 10.77.0.2, one core each; the worker of the home is beside the head."""

    def __init__(self, folder: Path, short: Path, name: str) -> None:
        self.folder, self.short, self.seen = folder, short, folder / "seen"
        self.hosts = [f"ll-{os.getpid()}-{name}" for name in ("head", "node")]
        self.token = folder / "token"
        self.token.write_text(secrets.token_hex(32))
        self.token.chmod(0o600)
        self.environment = {
            **os.environ,
            "LOOPLINE_HOME": str(folder / "home"),
            "LOOPLINE_DURABLE": "0",
            "LOOPLINE_LEASE_S": "10",
            "LOOPLINE_RAY_ADDRESS": f"10.77.0.1:{PORT}",
            "LOOPLINE_RAY_TOKEN_PATH": str(self.token),
            "RAY_AUTH_MODE": "token",
            "RAY_NUM_REDIS_GET_RETRIES": "90",
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
            "SEEN": str(self.seen),
            "TMPDIR": str(short),
        }
        file = folder / f"{name}.py"  # no two tests of a process share one
        file.write_text(PIPELINE)
        self.home = PipelineHome(Settings.read(folder / "home", self.environment))
        self.pipelines = {one.name: one for one in pipelines_in(file)}
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Lay the cable between the hosts and start Ray on both."""
        head, node = self.hosts
        for host in self.hosts:
            _ip("netns", "add", host)
        _ip("link", "add", "cable", "netns", head, "type", "veth", "peer", "name", "cable", "netns", node)
        for host, address in zip(self.hosts, ("10.77.0.1", "10.77.0.2"), strict=True):
            _ip("-n", host, "address", "add", f"{address}/24", "dev", "cable")
            _ip("-n", host, "link", "set", "cable", "up")
            _ip("-n", host, "link", "set", "lo", "up")
        self.start_nodes()

    def start_nodes(self) -> None:
        """Start Ray on both hosts, where it does not run."""
        head = (f"--port={PORT}", f"--temp-dir={self.short}", "--include-dashboard=false", "--disable-usage-stats")
        self._ray(self.hosts[0], "--head", "--node-ip-address=10.77.0.1", *head)
        self._ray(self.hosts[1], f"--address=10.77.0.1:{PORT}", "--node-ip-address=10.77.0.2")

    def start_growing(self, kinds: dict[str, dict[str, object]]) -> None:
        """Start a head without a core to spare, alone, whose autoscaler adds nodes of these kinds, which are processes beside it."""
        node_types = {
            name: {"resources": has, "node_config": {}, "min_workers": 0, "max_workers": 2}
            for name, has in kinds.items()
        }
        node_types["head"] = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
        config = {
            "cluster_name": "growing",
            "max_workers": 4,
            "idle_timeout_minutes": 0.05,
            "provider": {
                "type": "fake_multinode",
                "gcs_address": f"10.77.0.1:{PORT}",
                "disable_node_updaters": True,
                "disable_launch_config_check": True,
                "head_node_id": "fffffffffffffffffffffffffffffffffffffffffffffffffff00000",
            },
            "available_node_types": node_types,
            "head_node_type": "head",
            "upscaling_speed": 1.0,
            "auth": {},
            "docker": {},
            "initialization_commands": [],
            "setup_commands": [],
            "head_setup_commands": [],
            "worker_setup_commands": [],
            "head_start_ray_commands": [],
            "worker_start_ray_commands": [],
            "file_mounts": {},
            "cluster_synced_files": [],
            "file_mounts_sync_continuously": False,
            "rsync_exclude": [],
            "rsync_filter": [],
        }
        file = self.folder / "autoscaler.json"
        file.write_text(json.dumps(config))
        self.environment |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        head = (f"--port={PORT}", f"--temp-dir={self.short}", "--include-dashboard=false", "--disable-usage-stats")
        self.kill(self.hosts[1])
        self.kill(self.hosts[0])
        self._ray(
            self.hosts[0], "--head", "--node-ip-address=10.77.0.1", f"--autoscaling-config={file}", *head, cores=0
        )

    def worker(self) -> subprocess.Popen[bytes]:
        """Start a worker beside the head."""
        return self.command("worker", "--executor", "ray", "--until-idle", log="worker")

    def command(self, *arguments: str, log: str) -> subprocess.Popen[bytes]:
        """Start a command of ours beside the head; what it prints goes to `LOG.out`, what it logs to `LOG.log`."""
        command = [sys.executable, "-c", "from loopline.cli.main import main; main()", *arguments]
        with (self.folder / f"{log}.out").open("ab") as out, (self.folder / f"{log}.log").open("ab") as told:
            started = subprocess.Popen(_within(self.hosts[0], command), env=self.environment, stdout=out, stderr=told)
        self.started.append(started)
        return started

    def submit(self, pipeline: str = "squares", **params: object) -> str:
        """Submit an execution; its id."""
        planned = plan(self.pipelines[pipeline], params, self.home.engine.artifacts)
        with self.home.database.transaction() as tx:
            return submit(tx, self.home.engine, planned)[0]

    def lines(self) -> list[tuple[str, int, str]]:
        """What the steps said: `begun` or `ended`, the number, and the namespace."""
        text = self.seen.read_text() if self.seen.exists() else ""
        return [(word, int(number), where) for word, number, where in map(str.split, text.splitlines())]

    def namespace(self, host: str) -> str:
        """The namespace of a host, as a process in it sees it."""
        command = _within(host, ["readlink", "/proc/self/ns/net"])
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def kill(self, host: str) -> int:
        """Kill every process of a host; how many."""
        listed = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True, check=True).stdout
        pids = list(map(int, listed.split()))
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(pids)

    def cable(self, *, up: bool) -> None:
        """Pull the cable, or put it back."""
        _ip("-n", self.hosts[1], "link", "set", "cable", "up" if up else "down")

    def state(self, execution: str) -> str:
        """The state of an execution."""
        with self.home.database.reading() as tx:
            return reading.get_execution(tx, execution).state

    def events(self, execution: str) -> list[reading.EventRow]:
        """All that happened."""
        with self.home.database.reading() as tx:
            return list(reading.events_of(tx, execution))

    def result(self, execution: str) -> object:
        """What the pipeline returned."""
        with self.home.database.reading() as tx:
            return reading.result_of(tx, execution, self.home.engine.artifacts)

    def until(self, holds, within: float = WITHIN) -> float:
        """Wait until it holds; how many seconds that took."""
        begun = time.monotonic()
        while not holds():
            assert time.monotonic() < begun + within, self.logs()
            time.sleep(0.05)
        return time.monotonic() - begun

    def logs(self) -> str:
        """What was printed."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def close(self) -> None:
        """End every process of both hosts, and the hosts."""
        for host in reversed(self.hosts):
            with suppress(subprocess.CalledProcessError):
                while self.kill(host):
                    time.sleep(0.05)
                _ip("netns", "delete", host)
        for process in self.started:
            process.wait()
        self.home.close()

    def _ray(self, host: str, *options: str, cores: int = 1) -> None:
        command = [
            sys.executable,
            "-c",
            START,
            "start",
            *options,
            f"--num-cpus={cores}",
            "--object-store-memory=80000000",
        ]
        for _ in range(_STARTS):  # on a busy machine Ray gives up after 30 seconds
            with (self.folder / f"{host}.log").open("wb") as log:
                given = {"env": self.environment, "stdout": log, "stderr": log, "timeout": WITHIN}
                if subprocess.run(_within(host, command), check=False, **given).returncode == 0:
                    return
            self.kill(host)
        raise AssertionError(self.logs())


def _within(host: str, command: list[str]) -> list[str]:
    return ["ip", "netns", "exec", host, *command]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
