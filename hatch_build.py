"""Builds the library in C for the wheel and for editable installs; where that fails, they are pure Python and serve all the same."""

import runpy
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_BUILDING = Path("src", "loopline", "models", "runtimes", "forest", "building.py")


class KernelBuildHook(BuildHookInterface[Any]):
    """Called by hatchling before it makes a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library beside its source, name it as part of the wheel, and the wheel as one for this platform."""
        del version
        library: Path | None = runpy.run_path(str(Path(self.root) / _BUILDING))["build"]()
        if library is None:
            self.app.display_warning(
                "No C compiler, or it failed: trees are walked by ONNX Runtime, several times slower for many rows."
            )
            return
        build_data["artifacts"].append(f"/{library.relative_to(self.root).as_posix()}")
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")
