"""What version 0.1 computed is still computed: updates, parameters, metrics, and the compiler's counts."""

import json

import numpy as np
import pytest
from recorded import runs, storage
from recorded.compositions import compositions
from recorded.inputs import HERE
from techniques import TECHNIQUES

TOLERANCE = 2e-5
EXCEPTIONS: dict[str, tuple[float, str]] = {}
CASES = {name: runs.export(name) for name in TECHNIQUES} | compositions()
COUNTS = json.loads((HERE / "counts.json").read_text())


def difference(found: np.ndarray, recorded: storage.Leaf) -> float:
    """How far a leaf is from the recorded one, in units of its largest entry."""
    x, largest = storage.leaf(found), recorded.largest or 1.0
    assert np.isfinite(found).all()
    entries = np.abs(np.float64(x.samples) - np.float64(recorded.samples)).max() / largest
    # If all entries differ by a share of their own size, so do these two; an entry that is off by itself shows in them.
    total = abs(x.total - recorded.total) / (np.sqrt(found.size * recorded.square) or 1.0)
    square = abs(x.square - recorded.square) / (2 * recorded.square or 1.0)
    return max(entries, total, square)


def differences(name: str) -> dict[str, float]:
    """The largest difference of each recorded quantity, and the names of the leaves."""
    run, found = runs.run(CASES[name], storage.index()[name]["leaves"]), {}
    recorded = storage.trees(name)
    assert list(run.trees) == list(recorded)
    for tree, leaves in recorded.items():
        assert list(run.trees[tree]) == list(leaves)
        found |= {f"{tree} {path}": difference(run.trees[tree][path], leaf) for path, leaf in leaves.items()}
    return found, run.metrics


@pytest.mark.parametrize("name", CASES)
def test_a_run_is_that_of_version_0_1(name):
    tolerance, _ = EXCEPTIONS.get(name, (TOLERANCE, ""))
    found, metrics = differences(name)
    assert not {leaf: x for leaf, x in found.items() if x > tolerance}
    recorded = storage.index()[name]["metrics"]
    assert set(metrics) == set(recorded)
    for metric, value in recorded.items():
        np.testing.assert_allclose(metrics[metric], value, rtol=max(1e-4, tolerance), atol=0, err_msg=metric)
