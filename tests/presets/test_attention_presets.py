"""MuonClip, against its algorithm and its links."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

import optchain as oc

INPUTS, HEADS, SIZE, STEPS, TAU = 6, 3, 4, 110, 2.0
TABLE = {"*/query/kernel": -2, "*/key/kernel": -2}
VIEWS = {"*/kernel": "d h k -> d (h k)"}


def drawn():
    """Parameters, gradients that let the logits grow, and inputs."""
    rng = np.random.default_rng(0)
    params = {"attention": {name: {"kernel": rng.normal(size=(INPUTS, HEADS, SIZE))} for name in ("query", "key")}}
    grads = jax.tree.map(lambda p: 0.5 * rng.normal(size=p.shape) + rng.normal(size=(STEPS, *p.shape)), params)
    return params, grads, rng.normal(size=(STEPS, 5, INPUTS))


def orthogonalized(m):
    """Five steps of Jordan's polynomial."""
    x = m / np.linalg.norm(m)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
    return x


def paper(params, grads, xs, rate, decay, beta):
    """Algorithm 1 of the Kimi Team for attention with heads of their own."""
    flat = {name: p["kernel"].reshape(INPUTS, -1) for name, p in params["attention"].items()}
    m = {name: np.zeros_like(w) for name, w in flat.items()}
    clipped = 0
    for t, x in enumerate(xs):
        largest = []
        for h in range(HEADS):
            own = slice(h * SIZE, (h + 1) * SIZE)
            largest.append(((x @ flat["query"][:, own]) @ (x @ flat["key"][:, own]).T / np.sqrt(SIZE)).max())
        for name in flat:
            m[name] = beta * m[name] + grads["attention"][name]["kernel"][t].reshape(INPUTS, -1)
            o = orthogonalized(m[name]) * np.sqrt(max(m[name].shape)) * 0.2
            flat[name] = flat[name] - rate * (o + decay * flat[name])
        for h in range(HEADS):
            if largest[h] > TAU:
                clipped += 1
                for w in flat.values():
                    w[:, h * SIZE : (h + 1) * SIZE] *= np.sqrt(TAU / largest[h])
    assert 0 < clipped < HEADS * STEPS
    return {"attention": {name: {"kernel": w.reshape(INPUTS, HEADS, SIZE)} for name, w in flat.items()}}


def test_muon_clip_agrees_with_the_paper():
    with jax.enable_x64(True):
        params, *told = jax.tree.map(jnp.asarray, drawn())
        tx = oc.as_matrices(oc.muon_clip(0.05, TABLE, TAU, weight_decay=0.1, beta=0.9), VIEWS)

        def step(carry, told):
            (params, state), (g, x) = carry, told
            q, k = (jnp.einsum("nd,dhs->nhs", x, params["attention"][name]["kernel"]) for name in ("query", "key"))
            logits = jnp.max(jnp.einsum("nhs,mhs->hnm", q, k) / SIZE**0.5, axis=(1, 2))
            return oc.apply(tx, g, state, params, max_logits={"attention": logits}), None

        (found, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, tuple(told)))((params, tx.init(params)))
        wanted = paper(*drawn(), rate=0.05, decay=0.1, beta=0.9)
        chex.assert_trees_all_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_it_is_muon_and_the_clip():
    tx = oc.muon_clip(0.02, TABLE, adam_learning_rate=1e-3)
    assert [name for name, _ in tx.link.links] == ["muon", "adam", "decay", "lr", "adam_lr", "clip"]
    params = {
        "block": {"query": {"kernel": jnp.ones((4, 2))}, "key": {"kernel": jnp.ones((4, 2))}},
        "scale": jnp.ones(3),
    }
    tx = oc.muon_clip(0.02, {"*/query/kernel": -1, "*/key/kernel": -1}, adam_learning_rate=1e-3)
    plain = oc.muon(0.02, nesterov=False, scale="rms", adam_learning_rate=1e-3)
    steps = (oc.apply(x, params, x.init(params), params, max_logits=None) for x in (tx, plain))
    chex.assert_trees_all_equal(*(params for params, _ in steps))
