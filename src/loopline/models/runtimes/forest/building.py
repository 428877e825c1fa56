"""The library in C: where it lies, and how it is built. Standard library alone: installing runs this file by itself."""

import hashlib
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("kernel.c")
_INCLUDED = SOURCE.with_name("wide.h")

# Contraction and fast math would make other sums than ONNX Runtime's. What is not asked for (errno, traps) changes no number.
_FLAGS = (
    "-std=gnu11",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
)
_LONGEST = 120  # seconds


def library() -> Path:
    """Where the library of this very source lies or would lie: its name holds the source's digest, so that none of another is loaded."""
    content = SOURCE.read_bytes() + _INCLUDED.read_bytes()
    return SOURCE.with_name(f"kernel-{hashlib.sha256(content).hexdigest()[:12]}.so")


def build() -> Path | None:
    """Build the library beside its source with the C compiler of `CC`, else Python's, else `cc`; None where that fails."""
    if sys.platform == "win32":  # its compilers take other flags
        return None
    asked, usual = os.environ.get("CC"), sysconfig.get_config_var("CC")
    for compiler in dict.fromkeys([asked] if asked else [usual or "cc", "cc"]):
        for further in ((), ("-DLOOPLINE_NARROW",)):
            try:
                if _compiled([*shlex.split(compiler), *_FLAGS, *further], library()):
                    return library()
            except (OSError, subprocess.TimeoutExpired):  # no such compiler, or a folder that may not be written
                continue
    return None


def _compiled(command: list[str], to: Path) -> bool:
    with tempfile.TemporaryDirectory(dir=to.parent) as folder:
        made = Path(folder) / to.name
        whole = [*command, str(SOURCE), "-o", str(made), "-lm"]
        done = subprocess.run(whole, capture_output=True, timeout=_LONGEST, check=False)  # noqa: S603 - of whoever installs
        if done.returncode or not made.exists():  # CC=true compiles nothing and says that all is well
            return False
        made.replace(to)
    return True


if __name__ == "__main__":
    sys.exit(0 if build() else 1)
