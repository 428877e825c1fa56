"""The executors' suite on a Ray cluster of this machine; tokens; what the death of Ray's processes is told as."""

from contextlib import closing
from importlib import import_module
from importlib.util import find_spec

import pytest

from loopline.storage.artifacts import open_artifacts
from loopline.testing.executors import ExecutorSuite

# Not importorskip: how Ray authenticates is said before it is loaded.
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


class TestRayExecutor(ExecutorSuite):
    @pytest.fixture(scope="session")
    def store(self, tmp_path_factory):
        return str(tmp_path_factory.mktemp("artifacts"))

    @pytest.fixture
    def artifacts(self, store):
        return open_artifacts(store, durable=False)

    @pytest.fixture
    def executor(self, store, ray_cluster):
        with closing(
            import_module("loopline.executors.ray").RayExecutor(ray_cluster, store, cores=2, durable=False)
        ) as made:
            yield made
