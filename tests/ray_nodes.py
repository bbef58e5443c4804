"""A cluster of Ray for a test: a head without room for trials and nodes of one core each, one of which may be lost.

It is in a process of its own, started by the path of this file, as Ray forks and JAX must not be forked.
"""

import contextlib
import importlib.util
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

OBJECTS = 100 * 2**20  # bytes of a node's store of objects


def require_ray() -> None:
    """Skip the test where Ray is not installed; it is not imported, as it reads the environment then."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed: pip install 'optchain[ray]'")


@contextlib.contextmanager
def ray_nodes(count: int) -> Iterator[Callable[[], None]]:
    """Within this context `RAY_ADDRESS` names a cluster; what is given loses one of its nodes, without a warning.

    Skips the test where Ray is not installed.
    """
    require_ray()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(16))
        command = [sys.executable, "-P", __file__, str(count)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

        def answer() -> str:
            while not (line := process.stdout.readline()).startswith("{"):  # Ray says more
                assert line, "the cluster has ended"
            return json.loads(line)["said"]

        def lose() -> None:
            process.stdin.write("lose\n")
            process.stdin.flush()
            answer()

        try:
            patch.setenv("RAY_ADDRESS", answer())
            yield lose
        finally:
            process.communicate(timeout=60)


def _serve(count: int) -> None:
    from ray.cluster_utils import Cluster

    os.environ.pop("RAY_ADDRESS", None)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": OBJECTS})
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=OBJECTS) for _ in range(count)]
    print(json.dumps({"said": cluster.address}), flush=True)
    for _ in sys.stdin:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
        print(json.dumps({"said": "lost"}), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
