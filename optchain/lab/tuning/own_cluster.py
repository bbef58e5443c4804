"""A program that joins the cluster of Ray that exists, or begins one, for as long as its standard input is open.

Ray forks to begin a cluster, and a process in which JAX has threads must not be forked: so this one never imports JAX,
and is started by its path. It writes the address as JSON, or the error. Whoever is killed closes what it has open, and
so no cluster outlives its command.
"""

# pyright: reportMissingImports=false

import json
import logging
import os
import sys

MODE = "RAY_AUTH_MODE"  # which Ray decides when it begins a cluster, and reads when it is imported

if __name__ == "__main__":
    try:
        import ray

        ray.init(logging_level=logging.CRITICAL, log_to_driver=False, include_dashboard=False)
        known = {MODE: os.environ[MODE]} if MODE in os.environ else {}
        said = {"address": ray.get_runtime_context().gcs_address, "environment": known}
    except Exception as error:
        said = {"error": (str(error).splitlines() or [type(error).__name__])[0]}
    print(json.dumps(said), flush=True)
    sys.stdin.read()
