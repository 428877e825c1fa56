"""The model behind Ray Serve: one replica, access log off."""

import signal
import sys

import inside
import numpy as np
import ray
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.requests import Request

PORT = int(sys.argv[2])
QUIET = LoggingConfig(enable_access_log=False, log_level="ERROR")


@serve.deployment(num_replicas=1, max_ongoing_requests=100, ray_actor_options={"num_cpus": 0.5}, logging_config=QUIET)
class Scorer:
    def __init__(self) -> None:
        self.score = inside.load()

    async def __call__(self, request: Request) -> list[float]:
        return self.score(np.array((await request.json())["rows"], dtype=np.float32)).tolist()


def main() -> None:
    ray.init(
        num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False, configure_logging=False
    )
    serve.start(http_options={"host": "127.0.0.1", "port": PORT}, logging_config=QUIET)
    serve.run(Scorer.bind(), route_prefix="/")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ray.shutdown()


if __name__ == "__main__":
    main()
