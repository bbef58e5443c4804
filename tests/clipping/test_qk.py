import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import optchain as oc

INPUTS, HEADS, SIZE, STEPS = 6, 3, 4, 120
TABLE = {"*/query/kernel": -2, "*/key/kernel": -2}


def drawn():
    """Parameters, steps that let the logits grow, and inputs."""
    rng = np.random.default_rng(0)
    shape = (INPUTS, HEADS, SIZE)
    params = {"attention": {name: {"kernel": rng.normal(size=shape)} for name in ("query", "key", "value")}}
    leaves, treedef = jax.tree.flatten(params)
    drift = [rng.normal(size=shape) for _ in leaves]
    grads = [0.3 * d + rng.normal(size=(STEPS, *shape)) for d in drift]
    return params, treedef.unflatten(grads), rng.normal(size=(STEPS, 5, INPUTS))


def logits(params, x):
    """The largest logit of each head."""
    q, k = (jnp.einsum("nd,dhs->nhs", x, params["attention"][name]["kernel"]) for name in ("query", "key"))
    return jnp.max(jnp.einsum("nhs,mhs->hnm", q, k) / SIZE**0.5, axis=(1, 2))


def paper(params, grads, xs, rate, tau):
    """Algorithm 1 of the Kimi Team, with descent as the step and all heads in loops."""
    params = {name: p["kernel"].copy() for name, p in params["attention"].items()}
    for t, x in enumerate(xs):
        largest = np.empty(HEADS)
        for h in range(HEADS):
            q, k = x @ params["query"][:, h], x @ params["key"][:, h]
            largest[h] = (q @ k.T / np.sqrt(SIZE)).max()
        for name, p in params.items():
            p -= rate * grads["attention"][name]["kernel"][t]
        for h in range(HEADS):
            gamma = min(1, tau / largest[h]) if largest[h] > 0 else 1
            for name in ("query", "key"):
                params[name][:, h] *= np.sqrt(gamma)
    return {"attention": {name: {"kernel": p} for name, p in params.items()}}


def trained(tx, dtype):
    params, grads, xs = jax.tree.map(lambda x: jnp.asarray(x, dtype), drawn())

    def step(carry, told):
        (params, state), (g, x) = carry, told
        found = logits(params, x)
        return oc.apply(tx, g, state, params, max_logits={"attention": {"max_logits": (found,)}}), found

    return jax.jit(lambda c, xs: jax.lax.scan(step, c, xs))((params, tx.init(params)), (grads, xs))


def clipped(tau=4.0):
    return oc.chain(lr=oc.scale_by_learning_rate(0.02), qk=oc.clip_qk(TABLE, tau))


def test_agrees_with_the_paper():
    wanted = paper(*drawn(), rate=0.02, tau=4.0)
    with jax.enable_x64(True):
        (found, _), seen = trained(clipped(), jnp.float64)
        chex.assert_trees_all_close(found, wanted, rtol=1e-10)
    assert 0.1 < np.mean(np.asarray(seen) > 4.0) < 0.9  # it clips at some of the steps
    (found, _), _ = trained(clipped(), jnp.float32)
    chex.assert_trees_all_close(found, wanted, rtol=2e-5, atol=2e-5)


def test_the_logits_of_a_head_become_the_bound_and_others_stay_to_the_bit():
    params, _, xs = jax.tree.map(jnp.float32, drawn())
    before = logits(params, xs[0])
    tau = float(jnp.sort(before)[1])  # one head is above
    tx = oc.clip_qk(TABLE, tau)
    after, state = oc.apply(tx, jax.tree.map(jnp.zeros_like, params), tx.init(params), params, max_logits=before)
    above = np.asarray(before) > tau
    found = np.asarray(logits(after, xs[0]))
    np.testing.assert_allclose(found[above], tau, rtol=1e-5)
    np.testing.assert_array_equal(found[~above], np.asarray(before)[~above])
    chex.assert_trees_all_equal(after["attention"]["value"], params["attention"]["value"])
    assert above.sum() == 1


def moved(tx, params, **told):
    zeros = jax.tree.map(jnp.zeros_like, params)
    return oc.apply(tx, zeros, tx.init(params), params, **told)[0]


def test_rotary_queries_take_the_whole_factor():
    params = {name: {"kernel": jnp.ones((2, 2, 3))} for name in ("query", "rotary_query", "key")}
    tx = oc.clip_qk({"*query/kernel": 1, "key/*": 1}, 1.0, rotary={"rotary_query/*": 1})
    after = moved(tx, params, max_logits=jnp.array([4.0, 0.5]))
    for name, factor in (("query", 0.5), ("key", 0.5), ("rotary_query", 0.25)):
        np.testing.assert_allclose(after[name]["kernel"][0, :, 0], [factor, 1.0])


def test_a_key_that_several_queries_share_is_shrunk_for_the_largest():
    params = {
        "query": {"kernel": jnp.ones((2, 4, 3))},
        "key": {"kernel": jnp.ones((2, 2, 3)), "bias": jnp.ones((2, 3))},
    }
    tx = oc.clip_qk({"query/kernel": -2, "key/*": -2}, 1.0)
    after = moved(tx, params, max_logits=jnp.array([4.0, 1.0, 1.0, 0.25]))
    np.testing.assert_allclose(after["query"]["kernel"][0, :, 0], [0.5, 1, 1, 1])
    np.testing.assert_allclose(after["key"]["kernel"][0, :, 0], [0.5, 1])
    np.testing.assert_allclose(after["key"]["bias"][:, 0], [0.5, 1])


def test_each_kernel_takes_the_logits_of_its_own_module_and_stacked_layers_each_their_own():
    kernels = {"query": {"kernel": jnp.ones((2, 2))}, "key": {"kernel": jnp.ones((2, 2))}}
    stacked = jax.tree.map(lambda x: jnp.stack([x, x]), kernels)
    params = {"a": {"attention": kernels}, "layers": {"attention": stacked}}
    told = {"a": {"attention": jnp.array([1.0, 4.0])}, "layers/attention": jnp.array([[16.0, 1.0], [1.0, 1.0]])}
    after = moved(oc.clip_qk({"*/query/*": -1, "*/key/*": -1}, 1.0), params, max_logits=told)
    np.testing.assert_allclose(after["a"]["attention"]["key"]["kernel"], [[1, 0.5], [1, 0.5]])
    np.testing.assert_allclose(after["layers"]["attention"]["key"]["kernel"][:, 0], [[0.25, 1], [1, 1]])


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -5.0, 0.0])
def test_logits_that_say_nothing_clip_nothing(bad):
    params, tx = {"query": jnp.ones((2, 2))}, oc.clip_qk({"query": 1}, 1.0)
    after = moved(tx, params, max_logits=jnp.array([bad, 4.0]))
    np.testing.assert_allclose(after["query"], [[1, 0.5], [1, 0.5]])
    chex.assert_trees_all_equal(moved(tx, params, max_logits=None), params)


class Attention(linen.Module):
    """Attention that tells its logits."""

    @linen.compact
    def __call__(self, x):
        q, k, v = (linen.DenseGeneral((HEADS, SIZE), name=name)(x) for name in ("query", "key", "value"))
        scores = jnp.einsum("bnhs,bmhs->bhnm", q, k) / SIZE**0.5
        self.sow("intermediates", "max_logits", scores.max(axis=(0, 2, 3)))
        return jnp.einsum("bhnm,bmhs->bnhs", jax.nn.softmax(scores), v).sum((2, 3))


class Twice(linen.Module):
    """The same attention called twice, then another one."""

    @linen.compact
    def __call__(self, x):
        shared = Attention(name="shared")
        return (shared(x) + shared(4 * x) + Attention(name="own")(x)).mean()


def test_flax_linen_supplies_the_logits_by_sow():
    model, x = Twice(), jax.random.normal(jax.random.key(0), (2, 5, INPUTS))
    with jax.numpy_rank_promotion("allow"):
        params = model.init(jax.random.key(1), x)["params"]
        tau = 0.05
        tx = oc.chain(lr=oc.scale_by_learning_rate(0.0), qk=oc.clip_qk({"*/query/*": -2, "*/key/*": -2}, tau))

        @jax.jit
        def step(params, state):
            def loss(params):
                found, sown = model.apply({"params": params}, x, mutable="intermediates")
                return found, sown["intermediates"]

            grads, sown = jax.grad(loss, has_aux=True)(params)
            return *oc.apply(tx, grads, state, params, max_logits=sown), sown

        params, state, before = step(params, tx.init(params))
        _, _, after = step(params, state)
    assert float(oc.metrics(state)["qk.max_logit"]) == max(float(jnp.max(x)) for x in jax.tree.leaves(before)) > tau
    for module in ("shared", "own"):  # biases shrink too, so that the logits become exactly the bound
        was, now = (jnp.max(jnp.stack(sown[module]["max_logits"]), axis=0) for sown in (before, after))
        np.testing.assert_allclose(now, jnp.minimum(was, tau), rtol=1e-4)


def test_flax_nnx_supplies_the_logits_by_sow():
    class Head(nnx.Module):
        def __init__(self, rngs):
            self.query = nnx.LinearGeneral(INPUTS, (HEADS, SIZE), rngs=rngs)

        def __call__(self, x):
            scores = self.query(x)
            self.sow(nnx.Intermediate, "max_logits", scores.max(axis=(0, 2)))
            return scores.sum()

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.attention = Head(rngs)

    model, x = Model(nnx.Rngs(0)), jnp.ones((5, INPUTS))
    with jax.numpy_rank_promotion("allow"):
        optimizer = nnx.Optimizer(model, oc.clip_qk({"*/query/kernel": 1}, 0.01), wrt=nnx.Param)
        before = np.asarray(model.attention.query.kernel[...])
        told = nnx.capture(lambda model: model.attention(x), nnx.Intermediate)
        _, sown = told(model)
        grads = jax.tree.map(jnp.zeros_like, nnx.state(model, nnx.Param))
        optimizer.update(model, grads, max_logits=sown)
    factor = np.asarray(model.attention.query.kernel[...]) / before
    assert np.all(factor <= 1 + 1e-6) and np.any(factor < 0.9) and np.ptp(factor, axis=(0, 2)).max() < 1e-5


def test_works_sharded_within_guards_and_on_bfloat16():
    mesh = jax.make_mesh((3,), ("x",), (jax.sharding.AxisType.Explicit,))
    params = {"query": jnp.ones((4, 3, 2), jnp.bfloat16)}
    tx = oc.guard(oc.accumulate(oc.chain(qk=oc.clip_qk({"query": 1}, lambda step: 1.0)), 1))
    told = {"max_logits": jnp.array([4.0, 1.0, 16.0])}
    local = moved(tx, params, **told)
    np.testing.assert_array_equal(np.float32(local["query"][0, :, 0]), [0.5, 1.0, 0.25])
    with jax.set_mesh(mesh):
        placed = jax.device_put(params, jax.P(None, "x"))
        after = jax.jit(lambda p: moved(tx, p, **told))(placed)
    chex.assert_trees_all_equal(jax.tree.map(np.asarray, after), jax.tree.map(np.asarray, local))
    batched = jax.vmap(lambda x: moved(oc.clip_qk({"query": 1}, 1.0), params, max_logits=x)["query"][0, :, 0])
    np.testing.assert_allclose(np.float32(batched(jnp.array([[4.0, 1, 1], [1, 1, 16]]))), [[0.5, 1, 1], [1, 1, 0.25]])


def test_what_does_not_fit_is_named():
    params, tx = {"block": {"query": jnp.ones((4, 3, 2))}}, oc.clip_qk({"*query": 1})
    with pytest.raises(ValueError, match=r"no logits of a module around the kernel 'block/query'"):
        moved(tx, params, max_logits={"blocks": jnp.ones(3)})
    with pytest.raises(ValueError, match=r"leaf 'block/query' has 3 heads on axis 1 of \(4, 3, 2\), but its logits"):
        moved(tx, params, max_logits=jnp.ones(4))
    with pytest.raises(ValueError, match=r"has shape \(4, 3, 2\) and so no axis 3 of heads"):
        moved(oc.clip_qk({"*query": 3}), params, max_logits=jnp.ones(3))
    with pytest.raises(ValueError, match="clip_qk: '\\*/qurey' matches no parameter; valid: block/query"):
        oc.clip_qk({"*/qurey": 1}).init(params)
    with pytest.raises(ValueError, match="clip_qk reads the parameters"):
        tx.update(params, tx.init(params))
    with pytest.raises(ValueError, match="clip_qk: kernels must be a table from patterns to the axis"):
        oc.clip_qk("*/query")
    with pytest.raises(ValueError, match="clip_qk: rotary must be a table from patterns to the axis"):
        oc.clip_qk({}, rotary={"q": "heads"})
    for bad in (0.0, float("nan")):
        with pytest.raises(ValueError, match="clip_qk: tau must lie in"):
            oc.clip_qk({"*": 1}, bad)
