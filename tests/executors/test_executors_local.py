"""The executors' suite on the pool of local processes, and what happens to them when the pool's own process is killed."""

import os
import signal
import subprocess
import sys
from contextlib import closing

import pytest

from loopline.executors.local import LocalExecutor
from loopline.storage.artifacts import open_artifacts
from loopline.testing.executors import ExecutorSuite, gone


class TestLocalExecutor(ExecutorSuite):
    @pytest.fixture
    def artifacts(self, tmp_path):
        return open_artifacts(str(tmp_path / "artifacts"), durable=False)

    @pytest.fixture
    def executor(self, tmp_path):
        pool = LocalExecutor(str(tmp_path / "artifacts"), tmp_path / "executor", cores=2, durable=False)
        with closing(pool):
            yield pool

    def test_a_killed_pool_takes_its_processes_with_it(self, tmp_path):
        marker = tmp_path / "marker"
        owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path), str(marker)])
        pids = self.started(marker)
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        assert gone(pids[:1])
        os.kill(pids[1], signal.SIGKILL)  # in a session of its own: only a pool that lives finds it


OWNER = """
import sys
from pathlib import Path
from loopline.executors.local import LocalExecutor
from loopline.storage.artifacts import open_artifacts
from loopline.testing.executors import ExecutorSuite, sleep_with_child

folder, marker = sys.argv[1:]
pool = LocalExecutor(folder + "/artifacts", Path(folder) / "executor", durable=False)
artifacts = open_artifacts(folder + "/artifacts", durable=False)
pool.start(ExecutorSuite().job(sleep_with_child, artifacts, marker=marker))
while True:
    pool.wait(1)
"""
