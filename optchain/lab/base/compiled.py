"""Compiled code that is kept for later processes: the workers of a study, and the next run of the same program."""

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

LARGEST = 2**31  # bytes on one machine; what has not been used for longest goes first
LOCK = ".lockfile"  # of JAX
DIRECTORY, SIZE = "jax_compilation_cache_dir", "jax_compilation_cache_max_size"
EVERYTHING = {"jax_persistent_cache_min_compile_time_secs": 0.0, "jax_persistent_cache_min_entry_size_bytes": -1}


def folder() -> Path:
    """Where it is kept, with a folder for each machine: processors differ in what they can run."""
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (home if home.is_absolute() else Path.home() / ".cache") / "optchain" / "xla"


@contextlib.contextmanager
def kept(everything: bool = False) -> Iterator[None]:
    """Within this context, and in what it decorates, JAX keeps what it compiles, and finds what was kept.

    Where the user has told JAX a folder, it is that one, and what the environment says of JAX's limits holds. Several
    processes of one run compile for themselves.

    Args:
        everything: also what is compiled in no time, which is much where many processes begin with it.
    """
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    settings = {name: x for name, x in EVERYTHING.items() if everything and name.upper() not in os.environ}
    own = getattr(jax.config, DIRECTORY) is None and jax.process_count() == 1 and _is_writable(_here())
    settings |= {DIRECTORY: str(_here()), SIZE: LARGEST} if own else {}
    before = {name: getattr(jax.config, name) for name in settings}
    try:
        for name, x in settings.items():
            jax.config.update(name, x)
        yield
    finally:
        for name, x in before.items():
            jax.config.update(name, x)
        if own:
            compilation_cache.reset_cache()  # or JAX would go on with the folder that it has opened


def size() -> int:
    """The bytes that are kept, for all machines."""
    return sum(path.stat().st_size for path in folder().rglob("*") if path.is_file())


def remove() -> None:
    """Remove what is kept, for all machines; who is about to read or write it waits, and compiles again."""
    for lock in folder().glob(f"*/{LOCK}"):
        with FileLock(lock):
            for path in lock.parent.iterdir():
                if path != lock:
                    path.unlink()


def _here() -> Path:
    return folder() / (platform.node() or "this machine")


def _is_writable(place: Path) -> bool:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(place, os.W_OK)
