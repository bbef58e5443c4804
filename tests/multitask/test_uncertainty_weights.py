import numpy as np
from several_tasks import as_vectors, gradients, updates

import optchain as oc


def test_agrees_with_the_paper():
    """Gradient descent on the sum of losses over variances and logarithms of deviations, by differences."""
    grads = [gradients(seed, 3) for seed in range(8)]
    losses = [np.array([2.0, 0.1, 0.5]) * 0.9**t for t in range(8)]
    found, state = updates(oc.uncertainty_weights(3, weight_rate=0.1), grads, losses)
    s, expected = np.zeros(3), []
    for g, loss in zip(map(as_vectors, grads), losses, strict=True):
        expected.append(np.exp(-s) @ g)

        def total(s, loss=loss):
            return (loss * np.exp(-s) + s / 2).sum()

        s = s - 0.1 * np.array([(total(s + h) - total(s - h)) / 2e-6 for h in 1e-6 * np.eye(3)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * np.abs(found).max())
    np.testing.assert_allclose(state["uncertainty_weights"]["log_variances"], s, atol=1e-7)


def test_a_constant_loss_gets_the_weight_of_the_minimum():
    losses = [np.array([4.0, 0.25])] * 400
    _, state = updates(oc.uncertainty_weights(2, weight_rate=0.1), [gradients(0, 2)] * 400, losses)
    np.testing.assert_allclose(np.exp(-state["uncertainty_weights"]["log_variances"]), 1 / (2 * losses[0]), rtol=1e-4)
