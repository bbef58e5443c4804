import numpy as np
from several_tasks import as_vectors, gradients, updates

import optchain as oc


def test_weights_are_those_of_the_paper_and_vary():
    """Softmax of normal numbers: their logarithms, less their mean, have the variance 1 - 1 / K."""
    g = gradients(0, 3)
    found, _ = updates(oc.random_task_weights(seed=1), [g] * 400)
    weights = np.linalg.lstsq(as_vectors(g).T, found.T, rcond=None)[0].T
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-8)
    np.testing.assert_allclose(weights @ as_vectors(g), found, rtol=1e-7, atol=1e-9)
    logs = np.log(weights)
    logs -= logs.mean(1, keepdims=True)
    assert np.all(weights > 0) and abs(logs.var() - 2 / 3) < 0.12  # four standard errors
    assert np.all(np.abs(weights.mean(0) - 1 / 3) < 0.05)
    other, _ = updates(oc.random_task_weights(seed=2), [g] * 3)
    assert np.all(np.abs(found[:3] - other).max(1) > 1e-6)
