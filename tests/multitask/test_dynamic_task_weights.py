import numpy as np
from several_tasks import as_vectors, gradients, updates

import optchain as oc


def paper(epoch_losses, temperature):
    """Equation 7 of Liu et al.: the weights of each epoch from the mean losses of the two before it."""
    weights = []
    for n in range(len(epoch_losses)):
        ratio = np.ones(len(epoch_losses[0])) if n < 2 else epoch_losses[n - 1] / epoch_losses[n - 2]
        powers = np.exp(ratio / temperature)
        weights.append(len(powers) * powers / powers.sum())
    return weights


def test_agrees_with_the_paper():
    draw, every = np.random.default_rng(0), 3
    grads = [gradients(seed, 3) for seed in range(12)]
    losses = draw.uniform(0.5, 2.0, size=(12, 3))
    found, _ = updates(oc.dynamic_task_weights(3, every=every, temperature=0.7), grads, losses)
    epochs = [losses[i : i + every].mean(0) for i in range(0, 12, every)]
    weights = np.repeat(paper(epochs, 0.7), every, axis=0)
    expected = [w @ g for w, g in zip(weights, map(as_vectors, grads), strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    assert np.ptp(weights[-1]) > 0.1


def test_losses_that_are_not_finite_are_no_part_of_a_period():
    losses = [[1.0, 2.0], [np.nan, 2.0], [3.0, 2.0], [2.0, 2.0]]
    _, state = updates(oc.dynamic_task_weights(2, every=2), [gradients(0, 2)] * 4, losses)
    own = state["dynamic_task_weights"]
    np.testing.assert_allclose(own["last"], [2.0, 2.0])
    assert own["counted"] == 1 and own["periods"] == 1
