"""When, where and from which code something was run."""

import datetime
import functools
import platform
import subprocess
from typing import Any


def provenance() -> dict[str, Any]:
    """The time (UTC) and the host; in a git repository also the `commit` of the working directory, and whether it is
    `dirty`: tracked files differ from it."""
    began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"began": began, "host": platform.node(), **_commit()}


@functools.cache  # a study asks for each of its trials
def _commit() -> dict[str, Any]:
    commit = _git("rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(_git("status", "--porcelain", "--untracked-files=no"))} if commit else {}


def _git(*arguments: str) -> str | None:
    """What git answers; None without git, or outside a repository."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
