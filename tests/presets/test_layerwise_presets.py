"""Full optimizers whose steps are in proportion to each parameter's norm; see LARS and Fromage beside their rules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64, run_twin
from tiers import one_of_each

import optchain as oc

OPTIONS = [{}, {"b1": 0.8, "b2": 0.99, "eps": 1e-4, "weight_decay": 0.1}]


def paper(gs, p, learning_rate, b1=0.9, b2=0.999, eps=1e-6, weight_decay=0.0):
    """Algorithm 2 of You et al., where phi is the identity."""
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gs, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        r = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps) + weight_decay * p
        own, other = np.sqrt(np.sum(p**2)), np.sqrt(np.sum(r**2))
        p = p - learning_rate * (own / other if own > 0 and other > 0 else 1.0) * r
    return {"params": p}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_lamb_agrees_with_the_paper_and_optax(recorded, options):
    tx = oc.lamb(1e-3, **options)
    exact = by_leaf(paper, recorded.grads, recorded.params, learning_rate=1e-3, **options)["params"]
    assert_agree(run_float64(tx, recorded).params, exact, 1e-10)
    assert_agree(run(tx, recorded).params, exact, PARAMS)
    assert_agree(run(tx, recorded).params, run_twin(optax.lamb(1e-3, **options), recorded).params, PARAMS)


def sphere(gs, p, rate, adam_rate, hidden, b1=0.9, b2=0.999, eps=1e-8):
    """Wen et al. around Adam, where the parameter is hidden: update and result have the norm that it began with."""
    radius, m, v = np.sqrt(np.sum(p**2)), np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gs, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        u = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        if hidden:
            moved = p - rate * radius * u / np.sqrt(np.sum(u**2))
            p = radius * moved / np.sqrt(np.sum(moved**2))
        else:
            p = p - adam_rate * u
    return p


@pytest.mark.parametrize("adam", [None, pytest.param((), marks=pytest.mark.full), "*out/*"], ids=str)
def test_adamh_agrees_with_the_paper(recorded, adam):
    tx = oc.adamh(0.02, adam_learning_rate=1e-3, adam=adam)

    def exact(path, p, gs):
        leaf = jax.tree_util.keystr(path, simple=True, separator="/")
        others = ("embed" in leaf or "head" in leaf) if adam is None else adam != () and "out/" in leaf
        hidden = p.ndim >= 2 and not others
        return sphere(np.asarray(gs, np.float64), np.asarray(p, np.float64), 0.02, 1e-3, hidden)

    wanted = jax.tree.map_with_path(exact, recorded.params, recorded.grads)
    assert_agree(run_float64(tx, recorded).params, wanted, 1e-9)
    assert_agree(run(tx, recorded).params, wanted, PARAMS)
    assert [name for name, _ in tx.link.links] == ["adam", "trust", "lr", "adam_lr", "norm"]


@pytest.mark.parametrize("make, rate", [(oc.lars, 5.0), (oc.lamb, 0.05), (oc.fromage, 0.05)])
def test_descends_a_quadratic(make, rate):
    """LARS takes a thousandth of the norm at rate 1."""
    start, tx = {"x": jnp.array([1.0, -2.0, 3.0])}, make(rate)

    def step(carry, _):
        params, state = carry
        return oc.apply(tx, params, state, params), None

    (after, _), _ = jax.lax.scan(step, (start, tx.init(start)), length=300)
    assert optax.tree.norm(after) < 0.5 * optax.tree.norm(start)


@pytest.mark.parametrize(
    "tx, links",
    [
        (oc.lars(0.1), ["lars", "lr", "momentum"]),
        (oc.lamb(0.1), ["adam", "decay", "trust", "lr"]),
        (oc.fromage(0.1), ["lr"]),
    ],
    ids=["lars", "lamb", "fromage"],
)
def test_links_have_short_names(tx, links):
    assert [name for name, _ in tx.link.links] == links
    assert "lr.learning_rate" in oc.metrics(tx.init({"w": jnp.ones(2)}))
