import jax.numpy as jnp
import numpy as np
import pytest
from workers import AXIS, DEVICES, SHAPES, drawn, require_the_law, run, sent, zeros

import optchain as oc

DENSITY = 0.05


def top_k(x, name):
    """Algorithm 2 of Stich et al., with plain loops: what each device sends, and the mean."""
    own = np.zeros_like(x)
    for i, flat in enumerate(x.reshape(DEVICES, -1)):
        k = max(1, round(DENSITY * flat.size))
        for place in sorted(range(flat.size), key=lambda j, flat=flat: -abs(flat[j]))[:k]:
            own.reshape(DEVICES, -1)[i, place] = flat[place]
    return own, own.mean(0)


def test_agrees_with_the_paper():
    grads = drawn(5)
    require_the_law(run(oc.top_k_mean(DENSITY, AXIS), grads, zeros()), grads, top_k)


def test_values_and_places_are_sent():
    found = sent(oc.top_k_mean(DENSITY, AXIS), zeros())
    k = round(DENSITY * 40 * 24) + 1  # of the kernel and of the bias
    assert found["all-gather"].bytes == DEVICES * k * (4 + 4)
    assert found["all-reduce"].bytes == 4  # of the scalar, which is sent whole
    assert set(found) == {"all-gather", "all-reduce"}


def test_with_all_entries_it_is_the_mean():
    grads = drawn(2)
    ran = run(oc.top_k_mean(1.0, AXIS), grads, zeros())
    for name in SHAPES:
        np.testing.assert_allclose(ran.updates[name], grads[name].mean(1), rtol=1e-5, atol=1e-6)
        assert not ran.residuals[name].any()


def test_on_one_device_it_is_keep_top_k():
    g = {"w": jnp.array([3.0, -4.0, 0.5, 1.0, 2.0, -0.1, 0.0, 0.2])}
    one, other = oc.top_k_mean(0.25), oc.keep_top_k(0.25)
    states = one.init(g), other.init(g)
    for _ in range(3):
        (u, first), (v, second) = one.update(g, states[0]), other.update(g, states[1])
        states = first, second
        np.testing.assert_array_equal(u["w"], v["w"])


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=r"top_k_mean: density must lie in \(0, 1\], got 0.0"):
        oc.top_k_mean(0.0)
    with pytest.raises(ValueError, match="top_k_mean: axis must be the name of a mesh axis"):
        oc.top_k_mean(0.1, 3)
