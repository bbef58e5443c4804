"""Writes the fixtures of this folder: `python tests/recorded/make.py`, from the root of the repository.

Version 0.1.0 wrote them, and only its core may: they say what a later core must still compute. The script is kept to
show where they come from. A later version that runs it records itself, and then its tests cannot fail.
"""

import json
import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path[:0] = [str(TESTS), str(TESTS.parent)]
    import conftest  # noqa: F401 - sets the flags of the compiler before JAX starts

import jax  # noqa: E402
import numpy as np  # noqa: E402
from recorded_gradients import recorded as recorded_gradients  # noqa: E402
from techniques import TECHNIQUES  # noqa: E402

from recorded import counted, runs, states, storage  # noqa: E402
from recorded.compositions import compositions  # noqa: E402
from recorded.inputs import HERE, LEAVES, SQUARE, STEPS, by_path  # noqa: E402


def write_gradients() -> None:
    """Store the first gradients of the fixture `recorded`."""
    params, grads = recorded_gradients.__wrapped__()
    grads = jax.tree.map(lambda g: g[:STEPS], grads)
    arrays = {
        f"{part}/{path}": np.float32(x)
        for part, tree in (("params", params), ("grads", grads))
        for path, x in by_path(tree).items()
    }
    np.savez_compressed(HERE / "gradients.npz", **arrays)


def write_runs() -> None:
    """Store the runs of all exports and compositions, each on the first leaves that it takes."""
    found = {}
    for name, case in ({name: runs.export(name) for name in TECHNIQUES} | compositions()).items():
        taken = ("square" if name in SQUARE else leaves for leaves in LEAVES if runs.refused(case, leaves) is None)
        leaves = next(taken)
        found[name] = leaves, runs.run(case, leaves)
    assert len(found) == len(TECHNIQUES) + len(compositions())
    storage.write(found)


def write_counts() -> None:
    """Store the compiler's counts; those that fail with the reason."""
    found, failed = {}, {}
    for name, case in counted.cases().items():
        try:
            found[name] = list(counted.counts_of(case))
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
    lines = [f"  {json.dumps(name)}: {json.dumps(x)}" for name, x in found.items()]
    body = f' "jax": {json.dumps(jax.__version__)},\n "failed": {json.dumps(failed)},\n "counts": {{\n' + ",\n".join(
        lines
    )
    (HERE / "counts.json").write_text("{\n" + body + "\n }\n}\n")


def write_states() -> None:
    """Store the states of all transformations that are to be migrated."""
    states.write({name: states.trained(name, tx) for name, tx in states.transformations().items()})


if __name__ == "__main__":
    write_gradients()
    write_runs()
    write_counts()
    write_states()
