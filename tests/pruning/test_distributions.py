import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optchain as oc
from optchain.pruning.distributions import densities

SHAPES = {"conv": (3, 3, 4, 8), "first": (64, 32), "head": (32, 10), "narrow": (4, 2)}
PARAMS = {
    name: {"kernel": jax.random.normal(jax.random.key(i), shape) * 2.0**i}
    for i, (name, shape) in enumerate(SHAPES.items())
}


def kept(**axes):
    masks = oc.sparse(oc.sgd(0.1), 0.8, **axes).init(PARAMS)["sparse"]["masks"]
    return {name: int(own["kernel"].sum()) for name, own in masks.items()}


def erk_one_by_one(sparsity, shapes):
    """Section 3 of Evci et al.: the layer with the largest density is made dense as long as that is above 1."""
    sizes = {name: np.prod(shape) for name, shape in shapes.items()}
    raw = {name: sum(shape) / np.prod(shape) for name, shape in shapes.items()}
    dense = set()
    while len(dense) < len(shapes):
        free = [name for name in shapes if name not in dense]
        budget = (1 - sparsity) * sum(sizes.values()) - sum(sizes[name] for name in dense)
        factor = budget / sum(raw[name] * sizes[name] for name in free)
        worst = max(free, key=raw.get)
        if factor * raw[worst] <= 1:
            return {name: 1.0 if name in dense else factor * raw[name] for name in shapes}
        dense.add(worst)
    return dict.fromkeys(shapes, 1.0)


def test_uniform():
    assert kept() == {name: round(0.2 * np.prod(shape)) for name, shape in SHAPES.items()}


def test_erk():
    wanted = erk_one_by_one(0.8, SHAPES)
    assert wanted["narrow"] == 1.0  # a layer that is full, so that the rest is distributed anew
    assert kept(distribution="erk") == {name: round(wanted[name] * np.prod(shape)) for name, shape in SHAPES.items()}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=4), min_size=1, max_size=6), st.floats(0.0, 0.99))
def test_erk_of_any_shapes_agrees_with_the_loop_and_spends_the_budget(shapes, sparsity):
    sizes = [int(np.prod(shape)) for shape in shapes]
    found = densities("erk", sparsity, [str(i) for i in range(len(shapes))], shapes, sizes)
    np.testing.assert_allclose(found, list(erk_one_by_one(sparsity, dict(enumerate(shapes))).values()), rtol=1e-9)
    assert max(found) <= 1 and np.isclose(np.dot(found, sizes), (1 - sparsity) * sum(sizes))


def test_global_has_one_threshold_for_all():
    masks = oc.sparse(oc.sgd(0.1), 0.8, distribution="global").init(PARAMS)["sparse"]["masks"]
    sizes = np.concatenate([np.abs(p["kernel"]).ravel() for p in PARAMS.values()])
    inside = np.concatenate([np.asarray(masks[name]["kernel"]).ravel() for name in PARAMS])
    assert inside.sum() == round(0.2 * inside.size) and sizes[inside].min() > sizes[~inside].max()
    assert masks["conv"]["kernel"].mean() < masks["narrow"]["kernel"].mean()  # of smaller weights


@pytest.mark.full
def test_global_counts_the_entries_of_channels_of_any_size():
    masks = oc.sparse(oc.sgd(0.1), 0.8, distribution="global", structure="channels").init(PARAMS)["sparse"]["masks"]
    whole = [np.asarray(own["kernel"]).reshape(-1, own["kernel"].shape[-1]) for own in masks.values()]
    assert all((mask.all(0) | ~mask.any(0)).all() for mask in whole)
    total, inside = sum(mask.size for mask in whole), sum(mask.sum() for mask in whole)
    assert 0 <= 0.2 * total - inside < max(len(mask) for mask in whole)


def test_a_table_of_patterns():
    found = kept(distribution={"conv/*": 0.0, "*/kernel": 0.5, "head/*": 0.9})
    assert found == {"conv": 288, "first": 1024, "head": 160, "narrow": 4}  # the first pattern that matches decides
    assert kept(distribution={"head/*": 0.5})["first"] == round(0.2 * 2048)


def test_a_pattern_that_matches_nothing_is_refused():
    with pytest.raises(ValueError, match="distribution 'haed/kernel' matches no parameter; did you mean 'head/kernel'"):
        kept(distribution={"haed/kernel": 0.5})


def test_erk_counts_the_shape_of_one_layer():
    stacked = {"blocks": {"kernel": jnp.ones((5, 64, 32))}, "head": {"kernel": jnp.ones((32, 10))}}
    unrolled = {f"block_{i}": {"kernel": jnp.ones((64, 32))} for i in range(5)} | {"head": stacked["head"]}
    tx = oc.sparse(oc.sgd(0.1), 0.8, distribution="erk")
    one, many = oc.over_layers(tx, "blocks/*").init(stacked)["sparse"]["masks"], tx.init(unrolled)["sparse"]["masks"]
    assert (one["blocks"]["kernel"].sum((1, 2)) == many["block_0"]["kernel"].sum()).all()
    assert (one["head"]["kernel"] == many["head"]["kernel"]).all()
