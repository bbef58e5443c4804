"""What `sparse` makes of the transformation within: what it sees, what it remembers, and where it may stand."""

import tomllib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from compiler_counts import counts
from sparse_runs import sparse_state, trained
from techniques import tree

import optchain as oc
from optchain.pruning.purge import followers

PARAMS = {"kernel": jax.random.normal(jax.random.key(0), (8, 10)), "bias": jnp.ones(10)}
GRADS = jax.tree.map(lambda p: jax.random.normal(jax.random.key(1), (12, *p.shape)), PARAMS)
RIGL = oc.regrow(every=4, fraction=0.5)


def stepped(tx, n, grads=GRADS, params=PARAMS):
    state = tx.init(params)
    step = jax.jit(lambda g, state, params: oc.apply(tx, g, state, params))
    for t in range(n):
        params, state = step(jax.tree.map(lambda g, t=t: g[t], grads), state, params)
    return params, state


def spied(seen):
    """A transformation that notes the gradients and parameters that it sees."""

    def update(updates, state, params=None, **extra):
        seen.append((updates, params))
        return updates, state

    return optax.GradientTransformationExtraArgs(lambda params: (), update)


def test_the_transformation_within_sees_masked_gradients_and_parameters():
    seen, tx = [], None
    tx = oc.sparse(spied(seen), 0.5)
    state = tx.init(PARAMS)
    tx.update(jax.tree.map(lambda g: g[0], GRADS), state, PARAMS)
    for found, whole in zip(seen[0], (jax.tree.map(lambda g: g[0], GRADS), PARAMS), strict=True):
        wanted = jnp.where(state["sparse"]["masks"]["kernel"], whole["kernel"], 0)
        chex.assert_trees_all_equal(found, whole | {"kernel": wanted})


def test_a_weight_that_is_grown_starts_again():
    """Its moments are those of one gradient, whatever they were before it was pruned, and it leaves from 0."""
    tx = oc.sparse(oc.chain(oc.trace(0.9), oc.scale(-1.0)), 0.8, schedule=RIGL)
    _, before = stepped(tx, 8)
    params, after = stepped(tx, 9)
    grown = np.asarray(after["sparse"]["masks"]["kernel"] & ~before["sparse"]["masks"]["kernel"])
    trace = np.asarray(after["inner"]["links"]["trace"]["trace"]["trace"]["kernel"])
    assert grown.sum() > 3
    np.testing.assert_array_equal(trace[grown], np.asarray(GRADS["kernel"][8])[grown])
    np.testing.assert_array_equal(np.asarray(params["kernel"])[grown], -np.asarray(GRADS["kernel"][8])[grown])


@pytest.mark.parametrize(
    "make, slot, fresh",
    [
        (lambda: oc.rprop(0.03), ("links", "rprop", "scale_by_rprop", "step_size"), 0.03),
        (
            lambda: oc.adagrad(0.1, initial_accumulator_value=0.25),
            ("links", "rss", "scale_by_rss", "sum_of_squares"),
            0.25,
        ),
        (
            lambda: oc.chain(oc.adamw(0.1), oc.average_params(0.9)),
            ("links", "average_params", "average_params", "average"),
            0.0,
        ),
        (lambda: oc.lookahead(oc.adamw(0.1), 2, 0.5), ("lookahead", "slow"), 0.0),
    ],
    ids="rprop adagrad average lookahead".split(),
)
def test_what_is_pruned_is_remembered_as_init_makes_of_zero(make, slot, fresh):
    _, state = stepped(oc.sparse(make(), 0.5, schedule=oc.one_shot(5)), 8)
    slots = state["inner"]
    for name in slot:
        slots = slots[name]
    pruned = ~np.asarray(state["sparse"]["masks"]["kernel"])
    np.testing.assert_array_equal(np.asarray(slots["kernel"])[pruned], np.float32(fresh))
    assert (np.asarray(slots["kernel"])[~pruned] != np.float32(fresh)).any()


def test_a_slot_of_rows_by_rows_is_not_taken_for_one_like_a_square_parameter():
    found = followers(oc.scale_by_soap(), {"kernel": jnp.ones((6, 6))})
    like = {name.split("'")[3]: own for name, own in found.items() if "kernel" in name}
    assert {name for name, own in like.items() if own} == {"mu", "nu"} and "left_basis" in like
    params, _ = stepped(
        oc.sparse(oc.chain(oc.scale_by_shampoo(), oc.scale(-0.1)), 0.5, schedule=RIGL, mask=None),
        9,
        {"kernel": GRADS["kernel"][:, :6, :6]},
        {"kernel": PARAMS["kernel"][:6, :6]},
    )
    assert np.isfinite(params["kernel"]).all() and (params["kernel"] == 0).sum() == 18


SCHEDULES = {
    "one_shot": oc.one_shot(2),
    "gradual": oc.gradual(1, 9, 4),
    "regrow": RIGL,
    "straight_through": oc.straight_through(3),
}


@pytest.mark.parametrize("name, structure", [*((name, "unstructured") for name in SCHEDULES), ("regrow", [2, 2])])
def test_stacked_layers_are_pruned_as_if_they_were_alone(name, structure):
    tx = oc.sparse(oc.adam(0.1), 0.5, schedule=SCHEDULES[name], structure=structure)
    layers = [{"kernel": PARAMS["kernel"]}, {"kernel": 7 * PARAMS["kernel"][::-1]}]
    grads = [{"kernel": GRADS["kernel"]}, {"kernel": GRADS["kernel"][:, ::-1, ::-1]}]
    stacked = {"blocks": jax.tree.map(lambda *xs: jnp.stack(xs), *layers)}
    moving = {"blocks": jax.tree.map(lambda *xs: jnp.stack(xs, 1), *grads)}
    _, (params, masks, _) = trained(oc.over_layers(tx, "blocks/*"), stacked, moving)
    for i in range(2):
        _, (alone, mask, _) = trained(tx, layers[i], grads[i])
        np.testing.assert_array_equal(masks["blocks"]["kernel"][:, i], mask["kernel"])
        np.testing.assert_allclose(params["blocks"]["kernel"][:, i], alone["kernel"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["gradual", "regrow"])
def test_is_the_same_however_sharded(name):
    mesh = jax.make_mesh((4, 2), ("x", "y"), (jax.sharding.AxisType.Auto,) * 2)
    layout = {"kernel": jax.NamedSharding(mesh, jax.P("x", "y")), "bias": jax.NamedSharding(mesh, jax.P("y"))}
    tx = oc.sparse(oc.adamw(0.1), 0.5, score="random" if name == "regrow" else "magnitude", schedule=SCHEDULES[name])
    placed = jax.device_put(PARAMS, layout)
    layouts = oc.shardings(tx, placed)
    state = jax.jit(tx.init, out_shardings=layouts)(placed)
    assert state["sparse"]["masks"]["kernel"].sharding.is_equivalent_to(layout["kernel"], 2)

    def run(carry):
        return jax.lax.scan(lambda c, g: (oc.apply(tx, g, c[1], c[0]), None), carry, GRADS)[0]

    found = jax.jit(run, out_shardings=(layout, layouts))((placed, state))
    alone = jax.jit(run)((PARAMS, tx.init(PARAMS)))
    chex.assert_trees_all_equal(found[1]["sparse"]["masks"], alone[1]["sparse"]["masks"])
    chex.assert_trees_all_close(found[0], alone[0], rtol=1e-5, atol=1e-6)


def test_stands_within_guards_accumulation_groups_and_chains():
    tx = oc.sparse(oc.adamw(0.1), 0.5, schedule=RIGL)
    alone = stepped(tx, 8)
    for around in (oc.guard(tx), oc.accumulate(tx, 1), oc.groups(tx, {"*": {}}), oc.chain(tx), oc.chain(oc.chain(tx))):
        params, state = stepped(around, 8)
        chex.assert_trees_all_equal(sparse_state(state)["masks"], alone[1]["sparse"]["masks"])
        chex.assert_trees_all_close(params, alone[0], rtol=1e-6)


def test_stands_around_precision():
    """Stochastic rounding needs the parameters in their own dtype."""
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    tx = oc.sparse(oc.precision(oc.adamw(0.01), params="master", slots="bfloat16"), 0.5, schedule=RIGL)
    after, state = stepped(tx, 8, params=params)
    rest, pruned = state["inner"]["precision"]["rest"]["kernel"], ~state["sparse"]["masks"]["kernel"]
    assert after["kernel"].dtype == jnp.bfloat16 and not after["kernel"][pruned].any() and not rest[pruned].any()
    assert (rest != wide(after["kernel"])).any()


def wide(x):
    return x.astype(jnp.float32)


def test_metrics():
    tx = oc.sparse(oc.sgd(0.1), 0.5, schedule=oc.one_shot(1))
    shown = [oc.metrics(stepped(tx, n)[1]) for n in (1, 2, 3)]
    assert [float(x["sparse.sparsity"]) for x in shown] == [0.0, 0.5, 0.5]
    assert [float(x["sparse.changed"]) for x in shown] == [0.0, 40.0, 0.0]
    assert "lr.learning_rate" in shown[0]


RECIPE = """
use = "sparse"
sparsity = 0.9
score = "random"
distribution = "erk"
schedule = { use = "regrow", every = 10, end = 75, fraction = { use = "cosine", start = 0.3, steps = 75 } }
mask = "*/kernel"
[tx]
use = "adamw"
learning_rate = 1e-3
"""


def test_from_a_table():
    built = oc.from_config(tomllib.loads(RECIPE))
    schedule = oc.regrow(every=10, end=75, fraction=oc.cosine(0.3, 75))
    by_hand = oc.sparse(oc.adamw(1e-3), 0.9, "*/kernel", "random", "erk", schedule)
    assert built == by_hand and str(built) == str(by_hand) and "regrow" not in oc.techniques()
    link = oc.from_config(
        {"s": {"use": "sparse", "structure": [4, 4], "sparsity": 0.5, "tx": {"use": "sgd", "learning_rate": 1.0}}}
    )
    assert link == oc.chain(s=oc.sparse(oc.sgd(1.0), 0.5, structure=[4, 4]))


@pytest.mark.parametrize(
    "axes, message",
    [
        ({"sparsity": 1.0}, r"sparse: sparsity must lie in \[0, 1\), got 1.0"),
        ({"sparsity": -0.1}, r"sparsity must lie in \[0, 1\)"),
        ({}, r"sparsity must be a number in \[0, 1\), got None"),
        ({"sparsity": oc.linear(0.0, 0.9, 5)}, r"got linear\(.*gradual\(...\) is a schedule"),
        ({"sparsity": 0.5, "score": "magnitdue"}, "score is 'magnitdue'.*did you mean 'magnitude'"),
        ({"sparsity": 0.5, "distribution": "elk"}, "distribution is 'elk'.*did you mean 'erk'"),
        ({"sparsity": 0.5, "distribution": {"*": 2.0}}, r"distribution: '\*' must lie in \[0, 1\)"),
        ({"sparsity": 0.5, "schedule": "gradual"}, r"schedule must be one_shot\(\).*got 'gradual'"),
        ({"sparsity": 0.5, "structure": "1:4"}, "structure '1:4' is a sparsity of 0.75, got 0.5"),
        ({"structure": "1:4", "distribution": "erk"}, "structure '1:4' is uniform, got distribution 'erk'"),
        ({"sparsity": 0.5, "score": "saliency", "schedule": RIGL}, "regrow begins with a mask.*score is 'saliency'"),
        ({"sparsity": 0.5, "seed": 0.5}, "seed must be a whole number"),
    ],
)
def test_refuses_what_is_no_choice(axes, message):
    with pytest.raises(ValueError, match=message):
        oc.sparse(oc.sgd(0.1), **axes)


def test_refuses_what_is_no_transformation_and_steps_without_parameters():
    with pytest.raises(ValueError, match="tx must be a gradient transformation, got 'adam'"):
        oc.sparse("adam", 0.5)
    tx = oc.sparse(oc.sgd(0.1), 0.5)
    with pytest.raises(ValueError, match="sparse reads the parameters"):
        tx.update(tree(1), tx.init(tree(0)))


COSTS = {  # bytes accessed for each parameter: of the bare transformation, and of it with masks that stay
    "sgd": (oc.sgd(0.1), 12, 13),
    "adamw": (oc.adamw(1e-3), 40, 43),
    "optax's adamw": (optax.adamw(1e-3), 40, 43),
    "rprop": (oc.rprop(0.01), 44, 47),
}


@pytest.mark.parametrize("name", COSTS)
def test_a_mask_costs_one_byte_for_each_array_that_is_masked(name):
    tx, bare, wanted = COSTS[name]
    params = {"kernel": jnp.ones((512, 512))}
    masked = oc.sparse(tx, 0.9)
    without, found = counts(tx, params), counts(masked, params)
    assert without.accessed == pytest.approx(bare, abs=0.02) and found.accessed == pytest.approx(wanted, abs=0.02)
    assert found.temporary < 0.001 and found.passes == without.passes


def test_an_average_outside_costs_no_more_either():
    tx = oc.chain(sparse=oc.sparse(oc.adamw(1e-3), 0.9), average=oc.average_params(0.9))
    found = counts(tx, {"kernel": jnp.ones((512, 512))})
    assert found.accessed <= 55.1 and found.temporary < 0.001


def test_masks_that_change_store_no_more_than_their_sort():
    tx = oc.sparse(oc.adamw(1e-3), 0.9, schedule=oc.gradual(0, 100, 10))
    found = counts(tx, {"kernel": jnp.ones((512, 512))})
    assert found.temporary <= 14.1
