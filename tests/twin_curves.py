"""A program of another library, run with a transformation of optchain and with its twin of optax."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
import pytest

import optchain as oc

# Decays that float32 holds exactly: optax computes `1 - b**t` in float32, which is off by 5e-5 at t = 1 and b = 0.999.
ADAM = {"b1": 0.875, "b2": 0.984375}
TWINS = {
    "adamw": (oc.adamw(0.03, **ADAM, weight_decay=0.01), optax.adamw(0.03, **ADAM, weight_decay=0.01)),
    "clipped momentum": (
        oc.chain(clip=oc.clip_by_global_norm(1.0), sgd=oc.sgd(0.05, momentum=0.9)),
        optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.05, momentum=0.9)),
    ),
}
each_twin = pytest.mark.parametrize(("ours", "theirs"), TWINS.values(), ids=TWINS.keys())


def require_same_curves(train: Callable[[Any], Any], ours: Any, theirs: Any) -> None:
    """The losses of two runs are equal to 1e-5, relative, and the last ones are smaller than the first ones."""
    with jax.numpy_rank_promotion("allow"):  # other libraries promote ranks
        a, b = (np.asarray(train(tx)) for tx in (ours, theirs))
    assert a.ndim == 1 and len(a) >= 30 and np.isfinite(a).all()
    assert a[-5:].mean() < a[:5].mean()
    np.testing.assert_allclose(a, b, rtol=1e-5)
