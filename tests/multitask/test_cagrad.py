import numpy as np
import pytest
from several_tasks import as_vectors, gradients, updates

import optchain as oc


def paper(gs, c):
    """Algorithm 1 of Liu et al. for three tasks: the weights by a search over the simplex, finer and finer."""
    mean = gs.mean(0)
    radius = c * np.linalg.norm(mean)

    def value(w):
        combined = w @ gs
        return combined @ mean + radius * np.linalg.norm(combined)

    best, width = np.full(3, 1 / 3), 1.0
    for _ in range(40):
        for i in range(-4, 5):
            for j in range(-4, 5):
                w = np.clip([best[0] + width * i / 4, best[1] + width * j / 4], 0, 1)
                if w.sum() <= 1 and value(candidate := np.array([*w, 1 - w.sum()])) < value(best):
                    best = candidate
        width *= 0.6
    combined = best @ gs
    return mean + radius / np.linalg.norm(combined) * combined


@pytest.mark.parametrize("c", [0.0, 0.4, 2.0])
def test_agrees_with_the_paper(c):
    grads = [gradients(seed, 3) for seed in range(4)]
    found, _ = updates(oc.cagrad(c, exchanges=100), grads)
    for u, gs in zip(found, map(as_vectors, grads), strict=True):
        expected, mean = paper(gs, c), gs.mean(0)
        np.testing.assert_allclose(u, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
        # What it is for: the least gain of a task is the largest within that distance of the mean.
        assert np.linalg.norm(u - mean) <= (c + 1e-9) * np.linalg.norm(mean)
        assert (gs @ u).min() >= (gs @ expected).min() - 1e-6 * np.abs(gs @ u).max()


def test_two_tasks_are_exact_after_one_exchange():
    grads = [gradients(seed, 2) for seed in range(5)]
    once, often = (updates(oc.cagrad(0.5, exchanges=n), grads)[0] for n in (1, 60))
    np.testing.assert_allclose(once, often, rtol=1e-7, atol=1e-9)
