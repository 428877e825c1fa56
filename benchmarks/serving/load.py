"""The load: `wrk` on a core of its own, its connections kept open, what is no 2xx counted apart."""

import json
import os
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from serving.running import Ask

# The body is read from a file: as a literal, `[[...]]` would end at the `]]` that ends a matrix in JSON.
_SCRIPT = """
wrk.method = "POST"
{headers}
wrk.body = io.open({body}, "rb"):read("*a")
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n{{"answers": %d, "seconds": %f, "p50_us": %d, "p99_us": %d, "refused": %d, "broken": %d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True)
class Measured:
    """What one cell showed: answers with 2xx a second, microseconds, processor time of the server an answer, failures."""

    rps: float
    p50_us: float
    p99_us: float
    cpu_us: float
    failed: int

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def install_wrk() -> None:
    """From Debian, where it is missing."""
    if shutil.which("wrk") is None:
        root = [] if os.geteuid() == 0 else ["sudo"]
        subprocess.run([*root, "apt-get", "update", "-qq"], check=True)
        subprocess.run([*root, "apt-get", "install", "-y", "-qq", "wrk"], check=True, stdout=subprocess.DEVNULL)


def run_wrk(
    ask: Ask, port: int, folder: Path, *, connections: int, seconds: int, prefix: Sequence[str]
) -> dict[str, float]:
    """What wrk says of `seconds` of load; `prefix` is the command that pins it."""
    (folder / "body").write_bytes(ask.body)
    headers = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in ask.headers.items())
    script = folder / "load.lua"
    script.write_text(_SCRIPT.format(headers=headers, body=json.dumps(str(folder / "body"))))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script)]
    url = f"http://127.0.0.1:{port}{ask.path}"
    done = subprocess.run([*prefix, *command, url], capture_output=True, text=True, check=True, timeout=seconds + 60)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def medians(rounds: Sequence[Measured]) -> Measured:
    """Of each figure by itself; failures are added up."""
    fields = {
        name: statistics.median(one.as_dict()[name] for one in rounds) for name in ("rps", "p50_us", "p99_us", "cpu_us")
    }
    return Measured(**fields, failed=sum(one.failed for one in rounds))
