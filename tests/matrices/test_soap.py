import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import SLOTS, assert_agree, by_leaf, run, run_float64
from recorded_gradients import Recorded
from techniques import own
from tiers import one_of_each

import optchain as oc

RATE = -0.01
OPTIONS = [{}, {"b1": 0.9, "b2": 0.99, "eps": 1e-4, "every": 1}]


@pytest.fixture(scope="module")
def conditioned():
    """Square gradients whose second moments have distinct eigenvalues: the first of a wide one has no such basis."""
    rng = np.random.default_rng(0)
    scales = np.sqrt(np.geomspace(1, 0.05, 5))[:, None] * np.sqrt(np.geomspace(1, 0.1, 5))[None]
    u, v = (np.linalg.qr(rng.normal(size=(5, 5)))[0] for _ in range(2))
    grads = u @ (scales * rng.normal(size=(100, 5, 5))) @ v
    return Recorded({"w": jnp.zeros((5, 5))}, {"w": jnp.asarray(grads, jnp.float32)})


def paper(gs, b1=0.95, b2=0.95, eps=1e-8, every=10):
    """Algorithms 3 and 4 of Vyas et al.; as in their code the first gradient makes the bases, and L and R only."""
    m, v, updates = np.zeros(gs.shape[1:]), np.zeros(gs.shape[1:]), [np.zeros(gs.shape[1:])]
    left, right = (1 - b2) * gs[0] @ gs[0].T, (1 - b2) * gs[0].T @ gs[0]
    ql, qr = (np.linalg.eigh(a)[1][:, ::-1] for a in (left, right))
    for t, g in enumerate(gs[1:], 1):
        turned = ql.T @ g @ qr
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * turned**2
        mean, square = ql.T @ m @ qr / (1 - b1**t), v / (1 - b2**t)
        updates.append(ql @ (mean / (np.sqrt(square) + eps)) @ qr.T)
        left, right = b2 * left + (1 - b2) * g @ g.T, b2 * right + (1 - b2) * g.T @ g
        if t % every == 0:
            ql, qr = np.linalg.qr(left @ ql)[0], np.linalg.qr(right @ qr)[0]
    return {"updates": np.stack(updates), "mu": m, "nu": v, "left": left, "right": right}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(conditioned, options):
    """Signs of eigenvectors cancel. In float32 the first gradient's small eigenvectors are known to 1e-7 / gap only."""
    twin, tx = by_leaf(paper, conditioned.grads, **options), oc.scale_by_soap(**options)
    exact, ours = run_float64(tx, conditioned), run(tx, conditioned)
    for slot in ("mu", "nu", "left", "right"):
        assert_agree(exact.state[slot], twin[slot], 1e-9)
    assert_agree(exact.updates, twin["updates"], 1e-8)
    assert_agree(ours.state["mu"], twin["mu"], SLOTS)
    assert_agree(ours.updates, twin["updates"], 2e-3)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(conditioned):
    """As long as the bases stay: before they change it sorts them. Its eps is added before the debiasing."""
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    library = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    p = torch.zeros(5, 5, dtype=torch.float64, requires_grad=True)
    optimizer = library.SOAP([p], lr=-RATE, weight_decay=0.0, precondition_frequency=200, eps=1e-12)
    for g in np.asarray(conditioned.grads["w"], np.float64):
        p.grad = torch.tensor(g)
        optimizer.step()
    ours = run_float64(oc.scale_by_soap(every=200, eps=1e-12), conditioned, RATE)
    assert_agree(ours.params, {"w": p.detach().numpy()}, 1e-8)
    assert_agree(ours.state["nu"], {"w": optimizer.state[p]["exp_avg_sq"].numpy()}, 1e-9)
    assert_agree(ours.state["left"], {"w": optimizer.state[p]["GG"][0].numpy()}, 1e-9)


def test_follows_the_space_where_adam_does_not(conditioned):
    """A rotation of the gradients rotates the update, to what the first basis leaves undecided."""
    rng = np.random.default_rng(3)
    q, r = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (5, 5))
    turned = conditioned._replace(grads={"w": jnp.asarray(q @ np.asarray(conditioned.grads["w"]) @ r, jnp.float32)})
    one, other = (run_float64(oc.scale_by_soap(), x).updates["w"] for x in (conditioned, turned))
    np.testing.assert_allclose(q @ one @ r, other, atol=1e-4)
    one, other = (run_float64(oc.scale_by_adam(), x).updates["w"] for x in (conditioned, turned))
    assert np.abs(q @ one @ r - other).max() > 0.5


def test_the_bases_are_orthogonal_and_diagonalize_the_preconditioners(conditioned):
    state = run(oc.scale_by_soap(every=1, b2=0.99), conditioned).state
    for side in ("left", "right"):
        q, a = np.asarray(state[f"{side}_basis"]["w"]), np.asarray(state[side]["w"])
        np.testing.assert_allclose(q.T @ q, np.eye(len(q)), atol=1e-5)
        turned = q.T @ a @ q
        assert np.abs(turned - np.diag(np.diag(turned))).max() < 0.02 * turned.max()


def test_long_sides_keep_the_standard_basis():
    g = jax.random.normal(jax.random.key(0), (6, 3))
    tx = oc.scale_by_soap(max_dim=4)
    state = tx.init({"w": g})
    assert jax.tree.leaves(own(state)["left"]) == [] and own(state)["right"]["w"].shape == (3, 3)
    u, after = tx.update({"w": g}, state)
    assert jax.tree.structure(after) == jax.tree.structure(state) and jnp.isfinite(u["w"]).all()
    plain, adam = oc.scale_by_soap(max_dim=1), oc.scale_by_adam(0.95, 0.95)
    none, state = plain.update(g, plain.init(g))  # the first step has no update
    assert not none.any()
    np.testing.assert_allclose(plain.update(g, state)[0], adam.update(g, adam.init(g))[0], rtol=1e-6)


@pytest.mark.parametrize("make", [oc.soap, oc.kl_soap])
def test_the_first_step_decays_and_does_no_more(make):
    """The authors' program leaves the decay out of it too."""
    p, g = {"kernel": jnp.ones((3, 2))}, {"kernel": jax.random.normal(jax.random.key(0), (3, 2))}
    tx = make(0.1, weight_decay=0.5)
    np.testing.assert_allclose(tx.update(g, tx.init(p), p)[0]["kernel"], -0.05, rtol=1e-6)


def test_wrong_arguments_are_told():
    for name in ("every", "max_dim"):
        with pytest.raises(ValueError, match=f"scale_by_soap: {name} must be a whole number of at least 1, got 0"):
            oc.scale_by_soap(**{name: 0}).init(jnp.ones((2, 2)))
