"""What version 0.1 computed is still computed: updates, parameters, metrics, and the compiler's counts.

Its states are read by `migrate_state`: see `tests/inspect`.
"""

import json

import chex
import jax
import numpy as np
import pytest
from recorded import counted, runs, storage
from recorded.compositions import compositions
from recorded.inputs import HERE
from techniques import TECHNIQUES, definition, kind
from tiers import one_of_each

from optchain.core.walk import numbers_of

TOLERANCE = 2e-5
# For updates, for all else, and why. Gradients that differ by 6e-8 of themselves, or another compiler's flags, move the
# updates of these by 5e-6 to 1.3e-4; those of all others by less than 5e-6.
EXCEPTIONS: dict[str, tuple[float, float, str]] = dict.fromkeys(
    ["schedule_free", "schedule_free_adamw", "schedule_free_sgd", "schedule-free adamw", "ftrl", "adamh", "cocob"]
    + ["scale_by_cocob", "proximal_elastic_net", "keep_params_norm"],
    (5e-4, TOLERANCE, "the update is the difference of two parameters, which round in their own last place"),
)
EXCEPTIONS |= {"looksam": (2e-4, TOLERANCE, "a small difference of two gradients is divided by its norm")}
EXCEPTIONS |= {"precision of adamw": (8e-3, 8e-3, "a float32 sum at a tie rounds to either neighbor in bfloat16")}

# Techniques that are newer than version 0.1 have no run to compare with.
CASES = {name: runs.export(name) for name in TECHNIQUES if name in storage.index()} | compositions()
COUNTS = json.loads((HERE / "counts.json").read_text())
COUNTED = counted.cases()
# Metrics that have another name now.
RENAMED = {"link.mechanic.scale": "link.mechanize.scale"}
# Metrics that are newer than version 0.1, beside the numbers of techniques within wrappers.
NEW = {f"{prefix}guard.leaf" for prefix in ("", "link.")}
# Runs that are meant to differ after their first step, and why.
CHANGED = {
    "nested chains, overridden": "a mean stays a mean while its decay changes: it is divided by the weight seen",
    "precision of adamw": "the random bits of narrow slots are a hash of their path, which has one level more",
}
# And one that is meant to differ from its first step on.
CHANGED_AT_ONCE = {"schedule-free adamw": "the first step of a warm-up is made, where 0.1 threw its gradient away"}


def difference(found: np.ndarray, recorded: storage.Leaf) -> float:
    """How far a leaf is from the recorded one, in units of its largest entry."""
    leaf = storage.leaf(found)
    entries = np.abs(leaf.samples.astype(np.float64) - recorded.samples).max(initial=0) / (recorded.largest or 1.0)
    # An entry that is not among the samples shows in the sums.
    total = abs(leaf.total - recorded.total) / (np.sqrt(found.size * recorded.square) or 1.0)
    square = abs(leaf.square - recorded.square) / (2 * recorded.square or 1.0)
    return max(entries, total, square)


def differences(name: str) -> tuple[dict[str, float], dict[str, float]]:
    """How far each leaf of each recorded quantity is from the recorded one, and the metrics of the run."""
    run, recorded = runs.run(CASES[name], storage.index()[name]["leaves"]), storage.trees(name)
    chex.assert_trees_all_equal_structs(
        *({tree: dict.fromkeys(leaves) for tree, leaves in x.items()} for x in (run.trees, recorded))
    )
    pairs = [(f"{tree} {path}", x, recorded[tree][path]) for tree, own in run.trees.items() for path, x in own.items()]
    chex.assert_tree_all_finite(run.trees)
    return {leaf: difference(x, stored) for leaf, x, stored in pairs}, run.metrics


@pytest.mark.parametrize("name", one_of_each(CASES, lambda name: definition(name) if name in TECHNIQUES else name))
def test_a_run_ends_where_it_did_in_version_0_1(name):
    of_updates, of_others, _ = EXCEPTIONS.get(name, (TOLERANCE, TOLERANCE, ""))
    found, metrics = differences(name)
    if name in CHANGED or name in CHANGED_AT_ONCE:
        assert any(x > 1e-3 for x in found.values())
        found = {leaf: x for leaf, x in found.items() if leaf.startswith("update 1 ") and name in CHANGED}
    assert not {leaf: x for leaf, x in found.items() if x > (of_updates if leaf.startswith("update") else of_others)}
    recorded = {RENAMED.get(key, key): x for key, x in storage.index()[name]["metrics"].items()}
    assert recorded.keys() <= metrics.keys()
    assert metrics.keys() - recorded.keys() <= {*numbers_of(CASES[name].tx), *NEW}
    for metric, value in recorded.items():
        if (name in CHANGED and metric.endswith("norm")) or name in CHANGED_AT_ONCE:
            continue
        np.testing.assert_allclose(metrics[metric], value, rtol=1e-4, err_msg=metric)


def test_every_recorded_run_and_count_is_replayed():
    """An export that is gone, or renamed, is missed here."""
    assert not set(storage.index()) - set(CASES)
    assert not set(COUNTS["counts"]) - set(COUNTED)


# Bytes accessed and of temporaries for each parameter of a 512 x 512 matrix that a step may cost more. Rows and columns
# are read once more for a finite derivative of the roots of 0.
MORE = dict.fromkeys(["scale_by_factored_rms", "adafactor", "big_vision_adafactor", "scale_by_came", "came"], (0.07, 0))
MORE |= {"scale_by_fira": (0.05, 0)}
# The squares of the norms of rows and columns are added in float64.
MORE |= {"adaptive_grad_clip": (0.04, 0.02), "keep_params_max_norm": (0.02, 0.02), "scale_by_dion": (0, 0.02)}
# Rounding in directions that no gradient had is found, and left out.
MORE |= {"scale_by_galore": (0.1, 0)} | dict.fromkeys(["scale_by_soap", "soap"], (16.01, 0))
MORE |= dict.fromkeys(["scale_by_kl_soap", "kl_soap"], (16.05, 4))
# Factors stay where they are while the mean is 0.
MORE |= dict.fromkeys(["scale_by_kron", "kron"], (4.1, 0.02))


@pytest.mark.skipif(jax.__version__ != COUNTS["jax"], reason=f"the counts are those of JAX {COUNTS['jax']}")
@pytest.mark.parametrize("name", one_of_each(COUNTS["counts"], lambda name: kind(name) if name in TECHNIQUES else name))
def test_a_step_costs_no_more_than_in_version_0_1(name):
    accessed, temporary = COUNTS["counts"][name]
    found = counted.counts_of(COUNTED[name])
    more_accessed, more_temporary = MORE.get(name, (0, 0))
    assert found.accessed <= accessed + more_accessed + 0.01
    assert found.temporary <= temporary + more_temporary + 0.01
