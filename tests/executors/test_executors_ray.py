"""The executors' suite on a Ray cluster of this machine; tokens; hints; what the death of Ray's own processes is told as."""

import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import closing
from importlib import import_module
from importlib.util import find_spec

import pytest

from loopline.errors import AccessDenied, InvalidInput, NotFound, Unavailable
from loopline.executors.executor import Lost
from loopline.storage.artifacts import open_artifacts
from loopline.testing.executors import ExecutorSuite, add, gone, sleep_with_child

# Not importorskip: how Ray authenticates is said before it is loaded.
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """One folder of artifacts, so that the tests' processes stay warm."""
    return str(tmp_path_factory.mktemp("artifacts"))


class TestRayExecutor(ExecutorSuite):
    @pytest.fixture
    def artifacts(self, store):
        return open_artifacts(store, durable=False)

    @pytest.fixture
    def executor(self, store, ray_cluster):
        with closing(
            import_module("loopline.executors.ray").RayExecutor(ray_cluster, store, cores=2, durable=False)
        ) as made:
            yield made

    def test_a_process_of_ray_that_dies_is_a_loss_and_takes_the_step_with_it(self, executor, artifacts, tmp_path):
        job = self.job(sleep_with_child, artifacts, marker=str(tmp_path / "marker"))
        executor.start(job)
        pids = self.started(tmp_path / "marker")
        os.kill(_parent(_parent(pids[0])), signal.SIGKILL)  # the step's is a shell's, and that is Ray's
        deadline, told = time.monotonic() + 60, []
        while not told and time.monotonic() < deadline:
            told = executor.wait(1.0)
        [lost] = told
        assert isinstance(lost, Lost)
        assert lost.key == job.key
        assert "WorkerCrashedError" in lost.because
        assert gone(pids[:1])
        os.kill(pids[1], signal.SIGKILL)  # in a session of its own: only a process of Ray that lives finds it
        assert self.one(executor, self.job(add, artifacts, 1, one=1, other=1)).performed.failure is None

    def test_hints_that_nobody_knows_are_refused(self, executor, artifacts):
        job = self.job(add, artifacts, one=1, other=1, hints={"ray": {"gpu": 1}})
        with pytest.raises(InvalidInput, match="gpu"):
            executor.start(job)
        assert executor.room().cores == 2

    @pytest.mark.parametrize(
        "asked",
        [
            {"cores": 3.0},
            {"memory": 10**15},
            {"hints": {"ray": {"gpus": 1}}},
            {"hints": {"ray": {"labels": {"zone": "north"}}}},
            {"hints": {"ray": {"resources": {"tape": 1}}}},
        ],
    )
    def test_what_no_node_has_is_told_at_once(self, executor, artifacts, asked):
        with pytest.raises(Unavailable) as told:
            executor.start(self.job(add, artifacts, one=1, other=1, **asked))
        assert told.value.code == "executor.no_node"

    def test_a_node_that_does_not_see_the_artifacts_says_so(self, ray_cluster, tmp_path):
        store = tmp_path / "artifacts"
        module = import_module("loopline.executors.ray")
        with closing(module.RayExecutor(ray_cluster, str(store), cores=2, durable=False)) as made:
            store.rename(tmp_path / "elsewhere")
            failure = self.one(made, self.job(add, open_artifacts(str(store)), one=1, other=1)).performed.failure
        assert failure is not None
        assert failure.code == "executor.artifacts_not_shared"

    def test_the_token_is_made_for_its_owner_alone(self, tmp_path):
        read_token = import_module("loopline.executors.ray_cluster").read_token
        path = read_token(tmp_path / "new" / "token", make=True)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        text = path.read_text()
        assert len(bytes.fromhex(text)) == 32
        assert read_token(path, make=True).read_text() == text
        path.chmod(0o640)
        with pytest.raises(AccessDenied, match=str(path)):
            read_token(path, make=False)
        with pytest.raises(NotFound):
            read_token(tmp_path / "none", make=False)

    @pytest.mark.heavy
    def test_nobody_comes_in_without_the_token(self, ray_cluster, tmp_path):
        for mode in ("token", "disabled"):
            done = subprocess.run(
                [sys.executable, "-c", STRANGER, str(tmp_path / "token"), ray_cluster.address, mode],
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
            assert done.stdout == "refused\n", done.stderr

    @pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "head"])
    def test_an_address_that_is_none_is_refused(self, tmp_path, address):
        done = subprocess.run(
            [sys.executable, "-c", ADDRESS, str(tmp_path / "token"), address],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "executor.ray_address\n", done.stderr


def _parent(pid):
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - short
        return int(file.read().rpartition(")")[2].split()[1])


STRANGER = """
import os, secrets, sys
path, address, mode = sys.argv[1:]
os.environ["RAY_AUTH_MODE"] = mode
if mode == "token":
    with open(path, "w") as file:
        file.write(secrets.token_hex(32))
    os.environ["RAY_AUTH_TOKEN_PATH"] = path
import ray
try:
    ray.init(address, configure_logging=False)
except Exception:
    print("refused")
"""

ADDRESS = """
import sys
from pathlib import Path
from loopline.errors import LooplineError
from loopline.executors.ray_cluster import RayCluster
try:
    RayCluster(Path(sys.argv[1]), sys.argv[2])
except LooplineError as error:
    print(error.code)
"""
