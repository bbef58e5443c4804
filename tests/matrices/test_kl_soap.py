import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import SLOTS, assert_agree, by_leaf, run, run_float64
from recorded_gradients import Recorded
from tiers import one_of_each

import optchain as oc

OPTIONS = [{}, {"b1": 0.9, "b2": 0.99, "eps": 1e-4, "every": 2, "initial_value": 1.0, "floor": 1e-2}]


def gradients(rows, columns, steps=100):
    """Gradients with a Kronecker-factored covariance, and its factors."""
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (rows, columns))
    a, b = u * np.geomspace(1, 0.2, rows), v * np.geomspace(1, 0.3, columns)
    grads = a @ rng.normal(size=(steps, rows, columns)) @ b.T
    given = Recorded({"w": jnp.zeros((rows, columns))}, {"w": jnp.asarray(grads, jnp.float32)})
    return given, a @ a.T, b @ b.T


def paper(gs, b1=0.95, b2=0.95, eps=1e-8, every=10, initial_value=0.1, floor=1e-6, max_dim=10_000, whitens_first=True):
    """The KL factors by QR with running eigenvalues (Lin et al.), and Adam in their bases; of long sides no bases."""
    rows, columns = gs.shape[1:]
    is_long = [n > max_dim for n in (rows, columns)]
    m, v, updates = np.zeros((rows, columns)), np.zeros((rows, columns)), []
    sa, sb = np.zeros((rows, rows)), np.zeros((columns, columns))
    la, lb = np.full(rows, initial_value), np.full(columns, initial_value)
    for t, g in enumerate(gs):
        if t == 0:
            # Their code sets up the bases with the first gradient.
            firsts = [np.linalg.eigh(x)[1][:, ::-1] for x in (g @ g.T, g.T @ g)]
            qa, qb = (np.eye(len(q)) if long else q for q, long in zip(firsts, is_long, strict=True))
        turned = qa.T @ g @ qb
        inverse_a, inverse_b = (1 / np.maximum(x, floor * x.max()) for x in (la, lb))
        sa = b2 * sa + (1 - b2) / columns * g @ qb @ np.diag(inverse_b) @ qb.T @ g.T
        sb = b2 * sb + (1 - b2) / rows * g.T @ qa @ np.diag(inverse_a) @ qa.T @ g
        if t == 0 and not whitens_first:
            sa, sb = (1 - b2) / columns * g @ g.T, (1 - b2) / rows * g.T @ g
            updates.append(np.zeros(g.shape))
            continue
        la = b2 * la + (1 - b2) * np.array([(row**2 * inverse_b).mean() for row in turned])
        lb = b2 * lb + (1 - b2) * np.array([(column**2 * inverse_a).mean() for column in turned.T])
        if t == 0:
            updates.append(np.zeros(g.shape))
            continue
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * turned**2
        step = qa.T @ m @ qb / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        updates.append(qa @ step @ qb.T)
        if t % every == 0:
            nexts = [np.linalg.qr(s @ q)[0] for s, q in ((sa, qa), (sb, qb))]
            qa, qb = (np.eye(len(q)) if long else q for q, long in zip(nexts, is_long, strict=True))
    return {"updates": np.stack(updates), "mu": m, "nu": v, "left": sa, "right_values": lb}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(options):
    """On square gradients: a wide one has null vectors, which no basis of its own singles out."""
    given, *_ = gradients(5, 5)
    twin, tx = by_leaf(paper, given.grads, **options), oc.scale_by_kl_soap(**options)
    exact, ours = run_float64(tx, given), run(tx, given)
    for slot in ("nu", "left", "right_values"):
        assert_agree(exact.state[slot], twin[slot], 1e-9)
    assert_agree(exact.updates, twin["updates"], 1e-8)
    assert_agree(ours.state["mu"], twin["mu"], SLOTS)
    assert_agree(ours.updates, twin["updates"], 2e-3)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)], ids=str)
def test_long_sides_keep_the_standard_basis(shape):
    given, *_ = gradients(*shape)
    twin, ours = by_leaf(paper, given.grads, max_dim=5), run_float64(oc.scale_by_kl_soap(max_dim=5), given)
    long, short = ("left", "right") if shape[0] > 5 else ("right", "left")
    assert not jax.tree.leaves((ours.state[long], ours.state[f"{long}_basis"]))
    assert ours.state[f"{long}_values"]["w"].shape == (6,) and ours.state[short]["w"].shape == (4, 4)
    assert_agree({"w": ours.updates["w"]}, {"w": twin["updates"]["w"]}, 1e-8)


@pytest.mark.parametrize("name, bound", [("soap", 2.1), ("kl_soap", 2.2), ("shampoo", 0.1), ("kron", 1.2)])
def test_the_state_of_a_long_matrix_is_bounded(name, bound):
    """That of the output of a large vocabulary: a square of the long side would be 3,600 times the parameter."""
    tx = getattr(oc, f"scale_by_{name}")()
    p = jax.ShapeDtypeStruct((30_000, 8), jnp.float32)
    held = sum(x.size for x in jax.tree.leaves(jax.eval_shape(tx.init, p)))
    assert held < bound * p.size


def test_the_first_gradient_is_whitened_here_by_the_initial_eigenvalue(recorded_matrices):
    """As large as the docstring says: the same until the bases change, a tenth after that."""
    for gs in jax.tree.leaves(recorded_matrices.grads):
        ours, theirs = (paper(np.asarray(gs, np.float64), whitens_first=x)["updates"] for x in (True, False))
        np.testing.assert_array_equal(ours[:11], theirs[:11])
        assert 0.065 < np.linalg.norm(ours[-1] - theirs[-1]) / np.linalg.norm(theirs[-1]) < 0.115


def test_finds_the_kronecker_factors_of_the_covariance():
    """Up to one factor between them, which the product does not tell; SOAP's sums lack the whitening of the other."""
    given, a, b = gradients(4, 6, 3000)
    state = run(oc.scale_by_kl_soap(b2=0.999, every=1), given).state
    for slot, wanted in (("left", a), ("right", b)):
        found = np.asarray(state[slot]["w"], np.float64)
        found, wanted = found / np.trace(found), wanted / np.trace(wanted)
        assert np.abs(found - wanted).max() < 0.05 * wanted.max()


def test_the_eigenvalues_are_those_of_the_factors():
    given, *_ = gradients(4, 6, 1000)
    state = run(oc.scale_by_kl_soap(b2=0.99, every=1), given).state
    for side in ("left", "right"):
        values = np.sort(np.asarray(state[f"{side}_values"]["w"]))
        np.testing.assert_allclose(values, np.linalg.eigvalsh(np.asarray(state[side]["w"])), rtol=0.1)


def test_wrong_arguments_are_told():
    for name in ("every", "max_dim"):
        with pytest.raises(ValueError, match=f"scale_by_kl_soap: {name} must be a whole number of at least 1, got 0"):
            oc.scale_by_kl_soap(**{name: 0}).init(jnp.ones((2, 2)))
