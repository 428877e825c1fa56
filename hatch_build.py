"""Builds the libraries in C for the wheel and for editable installs; where that fails, they are pure Python and do the same more slowly."""

import runpy
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_NATIVE = Path("src", "loopline", "native.py")


class KernelBuildHook(BuildHookInterface[Any]):
    """Called by hatchling before it makes a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build each library beside its source, name it as part of the wheel, and the wheel as one for this platform."""
        del version
        built = []
        for library in runpy.run_path(str(Path(self.root) / _NATIVE))["LIBRARIES"]:
            if library.build():
                built.append(library)
            else:
                self.app.display_warning(
                    f"No C compiler, or it failed: there is no library that {library.does}. {library.without}"
                )
        if built:
            build_data["artifacts"] += [f"/{one.path.relative_to(self.root).as_posix()}" for one in built]
            build_data["pure_python"] = False
            build_data["tag"] = "py3-none-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")
