"""EMA-Nesterov."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.around import Around
from optchain.core.holes import holed
from optchain.core.lift import technique
from optchain.core.numbers import Number, Range, at, checked
from optchain.core.numerics import ema, incremented
from optchain.core.routing import Given
from optchain.core.transform import Transform, transform
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class EmaNesterov(Around):
    """Steps by `inner` from a point ahead of the iterate.

    State under its name: `count`; `mu`, a tree like the parameters; `beta`, how far ahead of the iterate the
    parameters are.
    """

    beta: Number
    decay: Number

    name = "ema_nesterov"
    needs_params = True

    def begin(self, params: Any) -> dict[str, Any]:
        return {
            "count": jnp.zeros((), jnp.int32),
            "mu": jax.tree.map(jnp.zeros_like, params),
            "beta": jnp.zeros((), jnp.float32),
        }

    def shown(self, own: dict[str, Any]) -> dict[str, Any]:
        return {"beta": own["beta"]}

    def modify(self, updates: Any, state: Any, params: Any, routed: dict[str, Given]) -> tuple[Any, dict[str, Any]]:
        own, step = state[self.name], routed[""].step
        step = own["count"] if step is None else step
        new, inner = self.inner_step(updates, state, params, routed)
        # The parameters after this step stand ahead by the beta of the next one.
        beta = jnp.asarray(at(self.beta, step + 1), jnp.float32)
        decay = at(self.decay, step)

        # From the point ahead the iterate is left behind by `beta mu`: that is part of its step.
        def mean(u: jax.Array, mu: jax.Array) -> jax.Array:
            b = decay if isinstance(decay, float) else jnp.asarray(decay, mu.dtype)
            return ema(u + own["beta"].astype(mu.dtype) * mu, mu, b)

        mu = jax.tree.map(mean, new, own["mu"])
        moved = jax.tree.map(lambda u, m: u + beta.astype(m.dtype) * m, new, mu)
        return moved, {self.name: {"count": incremented(own["count"]), "mu": mu, "beta": beta}, "inner": inner}


def iterate(own: dict[str, Any], params: Any) -> Any:
    """The iterate, from the parameters that stand ahead of it."""
    ys = holed(params, own["mu"])
    return jax.tree.map(lambda m, y: y.astype(m.dtype) - own["beta"].astype(m.dtype) * m, own["mu"], ys)


@technique(tx=scale(-0.1), beta=0.5)
def ema_nesterov(tx: optax.GradientTransformation, beta: Number, decay: Number = 0.99) -> Transform:
    r"""Lets a transformation step from a point ahead of its iterate, along the running mean of the iterate's steps.

    .. math::
        \theta_{t+1} = y_t + \mathrm{tx}(g(y_t)), \qquad
        m_{t+1} = b m_t + (1 - b) (\theta_{t+1} - \theta_t), \qquad y_t = \theta_t + \beta_t m_t

    The parameters are y, where gradients are taken; `averaged_params(state, params)` gives :math:`\theta`, which is to
    be evaluated. Against Nesterov's step from the last two iterates the mean is less noisy.

    Args:
        tx: any transformation, with its learning rate.
        beta: :math:`\beta`, how far ahead, at least 0; as a schedule it is 0 in the warm-up and in the last phase. From
            1 on for long, the mean feeds itself and grows: each step multiplies it by :math:`b + (1 - b) \beta`.
        decay: b, in [0, 1).

    Metrics: `ema_nesterov.beta`.

    Shapes and dtypes: any; the slot `mu` (m above) is like the parameter, in float32 or wider.

    Differs from the paper: nothing.

    Raises:
        ValueError: a number out of its range.

    References:
        Yau et al., 2026, EMA-Nesterov. https://arxiv.org/abs/2605.25395

    >>> import optchain as oc
    >>> tx = oc.ema_nesterov(oc.adamw(1e-3), beta=0.5)
    """
    beta = checked("ema_nesterov", "beta", beta, Range("[0, inf)"))
    return transform(EmaNesterov(tx, beta, checked("ema_nesterov", "decay", decay, Range("[0, 1)"))))
