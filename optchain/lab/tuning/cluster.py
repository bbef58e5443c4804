"""The cluster of Ray on which a study's trials run: one that exists, or one of this machine for the time being."""

# pyright: reportMissingImports=false

import contextlib
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from optchain.lab.base.errors import InputError, first_line
from optchain.lab.tuning.tables import Each

# Nothing about the use of Ray leaves the machine, and what it has to say of lost nodes is not for the standard output.
SILENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}


def is_installed() -> bool:
    """Whether Ray is there; it is not imported."""
    return importlib.util.find_spec("ray") is not None


def require_installed() -> None:
    """Ray is there.

    Raises:
        InputError: saying what to install.
    """
    if not is_installed():
        cure = "pip install 'optchain[ray]', or use 'processes'"
        raise InputError(f"search.parallel = 'ray' needs ray: {cure}")


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Within this context Ray runs tasks.

    Where the caller has joined a cluster, it is that one; else that of `RAY_ADDRESS`, else the one that `ray start` has
    begun on this machine, else one of this process, which ends with it.

    Raises:
        InputError: the cluster cannot be reached.
    """
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)  # Ray puts one of its own in its place
    with _address() as address:
        import ray

        try:
            try:
                ray.init(address, logging_level=logging.CRITICAL, log_to_driver=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise InputError(_unreachable(first_line(error))) from error
            yield
        finally:
            ray.shutdown()
            signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def _address() -> Iterator[str]:
    """The address of the cluster, which exists within this context at least."""
    with subprocess.Popen(
        [sys.executable, "-P", str(Path(__file__).with_name("own_cluster.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # out of the terminal's reach: Ctrl-C is for the command, which has yet to save
        env=os.environ | SILENT,
    ) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        if "error" in said:
            raise InputError(_unreachable(said["error"]))
        os.environ.update(said["environment"] | SILENT)
        yield said["address"]


def _unreachable(why: str) -> str:
    where = os.environ.get("RAY_ADDRESS")
    named = f"RAY_ADDRESS = {where!r}" if where else "search.parallel = 'ray'"
    return f"{named}: this machine cannot join a cluster of Ray: {why}"


def room(each: Each) -> int:
    """How many trials the nodes of the cluster can run at once.

    Raises:
        InputError: not one; says what the nodes have.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    had = [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes]
    count = sum(min(cpus // each.cpus, gpus // each.gpus if each.gpus else cpus) for cpus, gpus in had)
    if not count:
        listed = "; ".join(f"{cpus} CPUs and {gpus} GPUs" for cpus, gpus in sorted(set(had), reverse=True))
        wanted = f"search.each = {{ cpus = {each.cpus}, gpus = {each.gpus} }}"
        raise InputError(f"{wanted}: no node of the cluster has as many; its nodes have {listed}")
    return count


def is_full(each: Each) -> bool:
    """Whether others use so much of the cluster that no trial can begin now."""
    import ray

    free = ray.available_resources()
    return free.get("CPU", 0) < each.cpus or free.get("GPU", 0) < each.gpus
