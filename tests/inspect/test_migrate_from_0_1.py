"""States that version 0.1 kept go on as they would have there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recorded.states import extra, recorded_states, trained, transformations

import optchain as oc
from optchain.core.paths import named_leaves

TOLERANCE = 1e-6  # of the largest entry of a leaf
MAKE, BEFORE = transformations(), recorded_states()


def stepped(name, state):
    """The parameters after the step that follows."""
    before = BEFORE[name]
    step = jax.jit(
        lambda grads, state, params: oc.apply(MAKE[name], grads, state, params, **extra(name, grads, params))
    )
    return step(before.grads, state, before.params)[0]


# What states of 0.1 do not have.
CREATED = {"guard of accumulate": ("(guard).leaf",)}


def require_close(found, recorded):
    for (path, x), y in zip(named_leaves(found), jax.tree.leaves(recorded), strict=True):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        assert np.abs(x - y).max() <= TOLERANCE * np.abs(y).max(), path


def changed(before):
    """The parameters before the step differ from those after it by more than the tolerance."""
    return any(
        np.abs(np.asarray(x, np.float64) - np.asarray(y, np.float64)).max() > 100 * TOLERANCE
        for x, y in zip(jax.tree.leaves(before.params), jax.tree.leaves(before.after), strict=True)
    )


@pytest.mark.parametrize("name", MAKE)
def test_the_next_step_is_that_of_version_0_1(name):
    before = BEFORE[name]
    assert changed(before)
    migrated, report = oc.migrate_state(before.state, MAKE[name], before.params)
    assert report.created == CREATED.get(name, ()) and not (report.dropped or report.renamed or report.continued), str(
        report
    )
    require_close(stepped(name, migrated), before.after)


@pytest.mark.parametrize("name", MAKE)
def test_a_state_without_metrics_in_an_npz_file_is_read_as_well(name):
    before = BEFORE[name]
    leaves = jax.tree.leaves_with_path(before.state)
    table = {jax.tree_util.keystr(path): x for path, x in leaves if "metrics" not in jax.tree_util.keystr(path)}
    found, _ = oc.migrate_state(table, MAKE[name], before.params)
    expected, _ = oc.migrate_state(before.state, MAKE[name], before.params)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(np.asarray(x, np.float32), np.asarray(y, np.float32))


def test_the_weight_that_means_have_seen_is_that_of_all_values_of_a_schedule():
    """Of a link that began three steps after its chain, those of its own steps."""
    decay = oc.linear(0.5, 0.9, 10)
    tx, params = oc.chain(adam=oc.scale_by_adam(b1=decay), lr=oc.scale_by_learning_rate(0.1)), {"w": jnp.ones(3)}
    state, late = tx.init(params), None
    for t in range(7):
        late = tx.init(params)["links"]["adam"] if t == 3 else late
        if late is not None:
            _, late = tx.link.children()["adam"].update(params, late, params, step=jnp.int32(t))
        _, state = tx.update(params, state, params)
    for now in (state["links"]["adam"], late):
        own = now["scale_by_adam"]
        table = {"count": own["count"], "mu": own["mu"], "nu": own["nu"]}
        old = {"step": state["step"], "links": {"adam": table, "lr": {"count": jnp.int32(7)}}, "metrics": {}}
        migrated, _ = oc.migrate_state(old, tx, params)
        found = migrated["links"]["adam"]["scale_by_adam"]["seen"]
        for name in ("b1", "b2"):
            total = own["seen"][name]["log"] + own["seen"][name]["lost"]
            np.testing.assert_allclose(found[name]["log"], total, rtol=1e-6)
            assert found[name]["lost"] == 0 and found[name]["log"].dtype == jnp.float32


@pytest.mark.parametrize("name", ["debiased average", "soap", "kl_soap", "acprop", "adahessian"])
def test_weights_that_each_leaf_keeps_are_those_of_as_many_steps_of_this_version(name):
    migrated, _ = oc.migrate_state(BEFORE[name].state, MAKE[name], BEFORE[name].params)
    made, found = (
        {
            path: x
            for path, x in named_leaves(state["links"])
            if set(path.split("/")) & {"log", "lost", "weight", "mu_missed", "nu_missed"}
        }
        for state in (trained(name, MAKE[name]).state, migrated)
    )
    assert made and found.keys() == made.keys()
    for path, x in made.items():
        np.testing.assert_allclose(found[path], x, rtol=1e-6, atol=1e-6, err_msg=path)


def test_a_link_under_another_name_is_read_as_well():
    before, new = BEFORE["adamw"], oc.guard(oc.adamw(1e-2))
    named = {"moments" if name == "adam" else name: x for name, x in before.state["links"].items()}
    old = before.state | {"links": named}
    with pytest.raises(ValueError, match=r"'moments' is gone, and the new 'adam' has the same slots"):
        oc.migrate_state(old, new, before.params)
    migrated, report = oc.migrate_state(old, new, before.params, renames={"moments": "adam"})
    assert report.renamed == (("moments", "adam"),) and report.continued == (("(guard).accepted", 7),)
    require_close(oc.apply(new, before.grads, migrated, before.params)[0], before.after)


def test_another_technique_under_the_same_name_is_refused():
    before = BEFORE["adamw"]
    new = oc.chain(adam=oc.scale_by_lion(), decay=oc.add_decayed_weights(0.1), lr=oc.scale_by_learning_rate(1e-2))
    with pytest.raises(ValueError, match="'adam' held count, mu, nu and is to hold count, mu: another technique"):
        oc.migrate_state(before.state, new, before.params)
