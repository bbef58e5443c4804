"""Flat leaves: the steps of one device, a share of the state on each, what is sent, and what stays whole."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax.sharding import AxisType
from techniques import RULES, build
from tiers import one_of_each

import optchain as oc
from optchain.core.numbers import seeds
from optchain.core.paths import named_leaves
from optchain.inspect.collectives import collectives
from optchain.inspect.laws.steps import every_extra

KINDS = {"auto": AxisType.Auto, "explicit": AxisType.Explicit}
SHAPES = {"even": (64, 16), "kernel": (101, 33), "small": (3, 5), "vector": (1000,)}
ELEMENTWISE = [name for name, rule in RULES.items() if rule.core_ndim == 0 and not rule.extras and not seeds(rule)]


def on_mesh(tree, kind, number=8):
    mesh = jax.make_mesh((number,), ("data",), (KINDS[kind],), devices=jax.devices()[:number])
    return jax.device_put(tree, jax.NamedSharding(mesh, jax.P()))


def drawn(seed, shapes=SHAPES, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return {name: jax.random.normal(key, shapes[name], dtype) for name, key in zip(shapes, keys, strict=True)}


def flat(tx, min_size=16):
    return oc.flat(tx, axis="data", min_size=min_size)


def begun(tx, params):
    return jax.jit(tx.init, out_shardings=oc.shardings(tx, params))(params)


def step(tx, params, state):
    layouts = jax.tree.map(lambda x: x.sharding, (params, state))
    return jax.jit(lambda g, s, p: oc.apply(tx, g, s, p, **every_extra()), out_shardings=layouts)


def require_same_steps(tx, kind, dtype=jnp.float32, rtol=1e-5, shapes=SHAPES, plain=None):
    """Those of one device; and the state by parameters is that of one device, and back."""
    plain = plain or tx
    alone, state = drawn(0, shapes, dtype), plain.init(drawn(0, shapes, dtype))
    params = on_mesh(alone, kind)
    split = begun(tx, params)
    take, take_alone = step(tx, params, split), jax.jit(lambda g, s, p: oc.apply(plain, g, s, p, **every_extra()))
    for i in range(2):
        grads = drawn(i + 1, shapes, dtype)
        params, split = take(on_mesh(grads, kind), split, params)
        alone, state = take_alone(grads, state, alone)
    whole = oc.state_by_parameters(tx, split, params)
    for (path, x), y in zip(named_leaves((params, whole)), jax.tree.leaves((alone, state)), strict=True):
        assert x.shape == y.shape, path
        np.testing.assert_allclose(np.float32(x), np.float32(y), rtol=rtol, atol=1e-6, err_msg=path)
    back = oc.state_by_owners(tx, whole, params)
    assert jax.tree.map(jnp.shape, back) == jax.tree.map(jnp.shape, split)
    for x, y in zip(*map(jax.tree.leaves, (oc.state_by_parameters(tx, back, params), whole)), strict=True):
        np.testing.assert_array_equal(x, y)
    grads = on_mesh(drawn(5, shapes, dtype), kind)  # what is padded counts in no norm
    found = jax.tree.leaves((take(grads, back, params)[0], take(grads, split, params)[0]))
    for x, y in zip(found[: len(found) // 2], found[len(found) // 2 :], strict=True):
        np.testing.assert_allclose(np.float32(x), np.float32(y), rtol=rtol)


@pytest.mark.parametrize("kind", one_of_each(KINDS, str))
@pytest.mark.parametrize("name", one_of_each(["scale_by_adam", *ELEMENTWISE]))
def test_the_steps_are_those_of_one_device(name, kind):
    inside = oc.chain(build(name), oc.clip_by_global_norm(1.0))
    require_same_steps(oc.chain(flat(inside), oc.scale(-0.1)), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_and_layers_see_the_shapes_of_the_parameters(kind):
    decay = oc.add_decayed_weights(0.5, mask=lambda path, p: p.ndim == 2)
    layered = oc.over_layers(oc.add_decayed_weights(0.5, mask=lambda path, p: p.ndim == 1), {"kernel": 1})
    for link in (decay, layered):
        require_same_steps(flat(oc.chain(oc.clip_by_global_norm(1.0), oc.scale_by_adam(), link, oc.scale(-0.1))), kind)


@pytest.mark.parametrize("around", ["guard", "accumulate", "groups", "precision"])
def test_wrappers_stand_outside(around):
    tx = {
        "guard": lambda tx: oc.guard(tx),
        "accumulate": lambda tx: oc.accumulate(tx, 2),
        "groups": lambda tx: oc.groups(tx, {"kernel": {"learning_rate": 0.5}, "small": oc.FROZEN, "*": {}}),
        "precision": lambda tx: oc.precision(tx, params="kahan"),
    }[around](flat(oc.adamw(1e-2)))
    require_same_steps(tx, "auto", jnp.bfloat16 if around == "precision" else jnp.float32)


def test_owners_stand_within():
    shapes = {f"kernel{i}": (32, 32) for i in range(8)}
    tx = flat(oc.distributed(oc.muon(0.02), "data"))
    require_same_steps(tx, "auto", shapes=SHAPES | shapes, rtol=1e-4, plain=flat(oc.muon(0.02)))


@pytest.mark.parametrize("kind", KINDS)
def test_each_device_holds_its_share(kind):
    tx, params = flat(oc.scale_by_adam()), on_mesh(drawn(0), kind)
    for state in (begun(tx, params), tx.init(params)):
        mu = state["inner"]["scale_by_adam"]["mu"]
        assert {name: x.shape for name, x in mu.items()} == SHAPES | {"kernel": (3336,), "vector": (1000,)}
        held = {name: x.addressable_shards[0].data.size for name, x in mu.items()}
        assert held == {"even": 64 * 16, "kernel": 3336 // 8, "small": 15, "vector": 125}
    over = oc.shardings(tx, params, over="data")["inner"]["scale_by_adam"]["nu"]
    assert {name: tuple(x.spec) for name, x in over.items()} == {
        "even": ("data", None),
        "kernel": ("data",),
        "small": (),
        "vector": ("data",),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_one_gather_and_one_reduction_a_leaf(kind):
    """The gradients are sums over the parts of a batch."""
    shapes = {"kernel": (101, 33), "vector": (1001,)}
    tx = flat(oc.adamw(1e-2))
    params = on_mesh(drawn(0, shapes), kind)
    state, mesh = begun(tx, params), params["kernel"].sharding.mesh

    def loss(p, x):
        return jnp.mean(jnp.tanh(x[:, :101] @ p["kernel"]) ** 2) + jnp.mean((x[:, 101:] * p["vector"][None]) ** 2)

    def take(p, s, x):
        return oc.apply(tx, jax.grad(loss)(p, x), s, p)

    x = jax.device_put(jnp.ones((16, 1102)), jax.NamedSharding(mesh, jax.P("data")))
    layouts = jax.tree.map(lambda x: x.sharding, (params, state))
    text = jax.jit(take, out_shardings=layouts).lower(params, state, x).compile().as_text()
    sent = collectives(text)
    assert set(sent) <= {"all-gather", "all-reduce", "reduce-scatter"}
    assert sent["all-gather"].count <= 2 and sent["all-gather"].bytes == 4 * (3336 + 1008)
    reduced = sum(sent[name].count for name in sent if name != "all-gather")
    assert reduced <= 2, sent


WHOLE = {
    "norms": lambda: oc.chain(oc.scale_by_adam(), oc.scale_by_trust_ratio()),
    "rows": lambda: oc.scale_by_rowwise_adagrad(),
    "random numbers": lambda: oc.chain(oc.scale_by_adam(), oc.add_noise(0.1, 0.5)),
    "an extra argument": lambda: oc.scale_by_sophia(),
    "no slots": lambda: oc.sgd(0.1),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_not_elementwise_stays_whole(name):
    shapes = {"kernel": (101, 33)}
    tx, params = flat(WHOLE[name]()), on_mesh(drawn(0, shapes), "auto")
    alone = jax.eval_shape(tx.init, drawn(0, shapes))
    assert jax.tree.map(jnp.shape, jax.eval_shape(tx.init, params)) == jax.tree.map(jnp.shape, alone)


def test_only_the_leaves_that_a_mask_gives_to_matrices_stay_whole():
    tx = flat(oc.chain(oc.scale_by_adam(), oc.scale_by_trust_ratio(mask="kernel")))
    state = jax.eval_shape(tx.init, on_mesh(drawn(0), "auto"))
    mu = state["inner"]["links"]["scale_by_adam"]["scale_by_adam"]["mu"]
    assert mu["kernel"].shape == (101, 33) and mu["vector"].shape == (1000,)


def test_boxes_that_name_axes_stay_whole():
    params = on_mesh({"kernel": jnp.ones((101, 33)), "vector": jnp.ones(1001)}, "auto")
    boxed = params | {"kernel": nn.Partitioned(params["kernel"], ("data", None))}
    mu = jax.eval_shape(flat(oc.scale_by_adam()).init, boxed)["inner"]["scale_by_adam"]["mu"]
    assert mu["kernel"].value.shape == (101, 33) and mu["vector"].shape == (1008,)


def test_small_leaves_and_other_arrays_stay_as_they_are():
    params = on_mesh(drawn(0) | {"ids": jnp.arange(1001)}, "auto") | {"act": jnp.tanh, "none": None}
    tx = oc.flat(oc.adamw(1e-2), "data", min_size=2000)
    shapes = {path: x.shape for path, x in named_leaves(tx.init(params)) if "/mu/" in path}
    assert sorted(shapes.values()) == [(3, 5), (64, 16), (1000,), (3336,)]
    layouts = {path: x.spec for path, x in named_leaves(oc.shardings(tx, params)) if "/mu/" in path}
    assert [path.rpartition("/")[2] for path, spec in layouts.items() if spec == jax.P("data")] == ["kernel"]


def test_errors():
    tx = flat(oc.scale_by_adam())
    params = on_mesh(drawn(0), "auto")
    two = on_mesh(drawn(0), "auto", 2)
    with pytest.raises(
        ValueError, match=r"mu/kernel' has shape \(3336,\) in the state, but \(3334,\) .* state_by_owners"
    ):
        tx.update(two, tx.init(params), two)
    within = optax.chain(tx, optax.scale(-1.0))
    for ask in (
        lambda: oc.shardings(within, params),
        lambda: oc.state_by_parameters(within, within.init(params), params),
    ):
        with pytest.raises(ValueError, match="flat stands within a transformation of optax, .* use oc.chain"):
            ask()
    with pytest.raises(
        ValueError, match=r"mu/kernel' has shape \(101, 33\) in the state, but \(3336,\) .* state_by_owners"
    ):
        tx.update(params, tx.init(drawn(0)), params)
    with pytest.raises(ValueError, match="split over 'dat', which the mesh does not have; did you mean 'data'"):
        oc.flat(oc.scale_by_adam(), "dat").init(params)
    with pytest.raises(ValueError, match=r"flat: link 'guard' is not a single technique .*; put wrappers outside"):
        flat(oc.guard(oc.adam(1e-3)))
    with pytest.raises(ValueError, match="flat: link 'optax.scale_by_adam' is not a single technique"):
        flat(optax.scale_by_adam())
    with pytest.raises(ValueError, match="flat: link 'scale_by_prodigy' depends on how many entries there are"):
        flat(oc.scale_by_prodigy())
    with pytest.raises(ValueError, match="axis must be the name of a mesh axis, got 3"):
        oc.flat(oc.scale_by_adam(), 3)
    with pytest.raises(ValueError, match="min_size must be a whole number of at least 1, got 0"):
        flat(oc.scale_by_adam(), 0)


def test_inside_shard_map_nothing_is_flat():
    tx, params = flat(oc.scale_by_adam()), on_mesh(drawn(0), "auto")
    mesh = params["kernel"].sharding.mesh
    inside = jax.shard_map(tx.init, mesh=mesh, in_specs=jax.P(), out_specs=jax.P())
    mu = jax.eval_shape(inside, params)["inner"]["scale_by_adam"]["mu"]
    assert {name: x.shape for name, x in mu.items()} == SHAPES
