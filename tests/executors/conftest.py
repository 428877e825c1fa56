"""One small Ray cluster for all tests of a session: it takes seconds to start, more on a busy machine."""

from contextlib import closing
from importlib import import_module

import pytest


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory):
    ray_cluster = import_module("loopline.executors.ray_cluster")  # it takes seconds
    with closing(ray_cluster.RayCluster(tmp_path_factory.mktemp("ray") / "token", cores=2)) as cluster:
        yield cluster
