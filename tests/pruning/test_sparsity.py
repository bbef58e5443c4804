import jax.numpy as jnp

import optchain as oc


def test_counts_exact_zeros():
    params = {
        "a": jnp.array([0.0, -0.0, 1e-30, jnp.nan]),
        "b": {"c": jnp.zeros((2, 3), jnp.bfloat16)},
        "d": jnp.ones(()),
    }
    found = oc.sparsity(params)
    assert [(leaf.path, leaf.entries, leaf.zeros) for leaf in found] == [("a", 4, 2), ("b/c", 6, 6), ("d", 1, 0)]
    assert found[1].sparsity == 1.0 and found.total.sparsity == 8 / 11
    assert "b/c    (2, 3)  6        6      1.0000" in str(found)


def test_counts_masks():
    assert oc.sparsity({"mask": jnp.array([True, False, True])}).total.zeros == 1


def test_of_nothing_is_none():
    assert oc.sparsity({}).total.sparsity == 0.0
