import jax
import jax.numpy as jnp
import numpy as np
from several_tasks import as_vectors, gradients, params, updates

import optchain as oc


def paper(all_gs, all_losses, alpha, rate, norms_of):
    """Algorithm 1 of Chen et al., the derivative by differences with the targets held fixed, in units of the mean."""
    w, first, made = np.ones(len(all_gs[0])), all_losses[0], []
    for gs, losses in zip(all_gs, all_losses, strict=True):
        norms = np.linalg.norm(norms_of(gs), axis=1)
        ratios = losses / first
        target = (w * norms).mean() * (ratios / ratios.mean()) ** alpha

        def total(w, norms=norms, target=target):
            return np.abs(w * norms - target).sum()

        slope = [(total(w + h) - total(w - h)) / 2e-7 for h in 1e-7 * np.eye(len(w))]
        made.append(w @ gs)
        w = w - rate * np.array(slope) / (w * norms).mean()
        w = w * len(w) / w.sum()
    return np.stack(made)


def test_agrees_with_the_paper():
    grads = [gradients(seed, 3) for seed in range(10)]
    losses = [np.array([2.0, 1.0, 3.0]) * 0.9 ** np.array([1.0, 2.0, 0.5]) ** t for t in range(10)]
    for shared, norms_of in ((None, lambda gs: gs), ("kernel", lambda gs: gs[:, 14:])):
        found, _ = updates(oc.gradnorm(3, alpha=0.7, weight_rate=0.02, shared=shared), grads, losses)
        expected = paper([as_vectors(g) for g in grads], losses, 0.7, 0.02, norms_of)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_the_weight_of_a_slow_task_grows_and_steps_without_losses_change_none():
    tx, g = (
        oc.chain(combine=oc.gradnorm(2, weight_rate=0.05)),
        jax.tree.map(lambda x: x[:1].repeat(2, 0), gradients(0, 1)),
    )
    state = tx.init(params())
    for losses in ([1.0, 1.0], [0.9, 0.4], [0.8, 0.1], [0.8, 0.1]):
        _, state = tx.update(g, state, params(), losses=jnp.array(losses))
    shown = oc.metrics(state)
    assert shown["combine.weight_0"] > 1 > shown["combine.weight_1"]
    _, after = tx.update(g, state, params(), losses=None)
    _, spoiled = tx.update(g, state, params(), losses=jnp.array([jnp.nan, 1.0]))
    for other in (after, spoiled):
        kept = other["links"]["combine"]["gradnorm"]
        np.testing.assert_array_equal(kept["weights"], state["links"]["combine"]["gradnorm"]["weights"])
