"""Where a run runs: its commit, its libraries, its machine. What cannot be told is left out."""

import os
import platform
import socket
import subprocess
import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from loopline.values import digest

_PATIENCE = 10


def git_facts(folder: Path) -> dict[str, Any]:
    """`git_commit`, `git_branch` and, where files were changed since, `git_diff` (the digest of the difference) and
    `git_changed` (how many files). Empty outside of a repository, and without git.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return {}
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    facts: dict[str, Any] = {"git_commit": commit.decode().strip(), "git_branch": (branch or b"").decode().strip()}
    changed = (_git(folder, "status", "--porcelain") or b"").splitlines()
    if changed:
        difference = _git(folder, "diff", "HEAD", "--binary", "--no-ext-diff") or b""
        facts |= {"git_changed": len(changed), "git_diff": digest(difference)}
    return facts


def machine_facts() -> dict[str, Any]:
    """`python`, `platform`, `host`, `cpus` and the `folder` it runs in."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "cpus": os.cpu_count() or 0,
        "folder": str(Path.cwd()),
        "executable": sys.executable,
    }


@cache
def libraries() -> dict[str, str]:
    """The version of every installed distribution, by name in lower case."""
    found = ((one.metadata["Name"], one.version) for one in distributions())
    return dict(sorted((name.lower(), version) for name, version in found if name))


def _git(folder: Path, *arguments: str) -> bytes | None:
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_PATIENCE, stdin=subprocess.DEVNULL)  # noqa: S603 - fixed words, no shell
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
