"""The libraries in C: where they lie, how they are built and loaded. Standard library alone: installing runs this file by itself.

Each is beside what calls it, which does the same without it, only slower.
"""

import ctypes
import hashlib
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent
_SOURCE, _INCLUDED = "kernel.c", "wide.h"

# Contraction and fast math would make other sums than what the libraries are held to. What is not asked for (errno, traps) changes no number.
FLAGS = (
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


@dataclass(frozen=True)
class Library:
    """One library, whose sources are in `folder` of the package: what it `does`, and what is so without it."""

    name: str
    folder: str
    does: str
    without: str

    @property
    def source(self) -> Path:
        """What is compiled."""
        return _PACKAGE / self.folder / _SOURCE

    @property
    def path(self) -> Path:
        """Where the library of this very source lies or would lie: its name holds the source's digest, so that none of another is loaded."""
        content = self.source.read_bytes() + self.source.with_name(_INCLUDED).read_bytes()
        return self.source.with_name(f"kernel-{hashlib.sha256(content).hexdigest()[:12]}.so")

    def build(self) -> bool:
        """Build it beside its source with the C compiler of `CC`, else Python's, else `cc`. Says whether it could."""
        if sys.platform == "win32":  # its compilers take other flags
            return False
        asked, usual = os.environ.get("CC"), sysconfig.get_config_var("CC")
        for compiler in dict.fromkeys([asked] if asked else [usual or "cc", "cc"]):
            for further in ((), ("-DLOOPLINE_NARROW",)):
                try:
                    if self._compiled([*shlex.split(compiler), *FLAGS, *further]):
                        return True
                except (OSError, subprocess.TimeoutExpired):  # no such compiler, or a folder that may not be written
                    continue
        return False

    def _compiled(self, command: list[str]) -> bool:
        with tempfile.TemporaryDirectory(dir=self.source.parent) as folder:
            made = Path(folder) / self.path.name
            whole = [*command, str(self.source), "-o", str(made), "-lm"]
            done = subprocess.run(whole, capture_output=True, timeout=_LONGEST, check=False)  # noqa: S603 - of whoever installs
            if done.returncode or not made.exists():  # CC=true compiles nothing and says that all is well
                return False
            made.replace(self.path)
        return True


FOREST = Library(
    "trees",
    "models/runtimes/forest",
    "walks trees",
    "ONNX Runtime walks them: the same scores, several times slower for many rows at once.",
)
COUNTERS = Library(
    "counting",
    "monitoring/counters",
    "counts columns",
    "numpy and polars count them: the same profiles, several times slower.",
)
LIBRARIES = (FOREST, COUNTERS)


@cache
def loaded(library: Library) -> ctypes.CDLL | None:
    """The library, or None where it was not built for this very source. Its functions let other threads run."""
    try:
        return ctypes.CDLL(str(library.path))
    except OSError:
        return None


if __name__ == "__main__":
    built = [library.build() for library in LIBRARIES]
    sys.exit(0 if all(built) else 1)
