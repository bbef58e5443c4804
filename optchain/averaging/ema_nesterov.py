"""EMA-Nesterov."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.modifier import Modifier, at
from optchain.core.numerics import ema
from optchain.core.rule import Number, Range, checked
from optchain.core.transform import Transform, technique, transform
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class EmaNesterov(Modifier):
    """Steps by `inner` from a point ahead of the iterate.

    State: `count`; `mu`, a tree like the parameters; `beta`, how far ahead of the iterate the parameters are.
    """

    beta: Number
    decay: Number

    name = "ema_nesterov"
    needs_params = True

    def start(self, params: Any) -> dict[str, Any]:
        return {
            "count": jnp.zeros((), jnp.int32),
            "mu": jax.tree.map(jnp.zeros_like, params),
            "beta": jnp.zeros((), jnp.float32),
        }

    def shown(self, state: dict[str, Any]) -> dict[str, jax.Array]:
        return {"beta": state["beta"]}

    def modify(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        step = extra.get("step", state["count"])
        new, inner = self.run_one("inner", updates, state, params, extra)
        # The parameters after this step stand ahead by what the next one wants.
        beta = jnp.asarray(at(self.beta, step + 1), jnp.float32)
        decay = at(self.decay, step)

        # From the point ahead the iterate is left behind by `beta mu`: that is part of its step.
        def mean(u: jax.Array, mu: jax.Array) -> jax.Array:
            b = decay if isinstance(decay, float) else jnp.asarray(decay, mu.dtype)
            return ema(u + state["beta"].astype(mu.dtype) * mu, mu, b)

        mu = jax.tree.map(mean, new, state["mu"])
        moved = jax.tree.map(lambda u, m: u + beta.astype(m.dtype) * m, new, mu)
        count = jnp.asarray(optax.safe_increment(state["count"]))
        return moved, {"count": count, "mu": mu, "beta": beta, "inner": inner}


def iterate(state: dict[str, Any], params: Any) -> Any:
    """The iterate, from the parameters that stand ahead of it."""
    return jax.tree.map(lambda y, m: y.astype(m.dtype) - state["beta"].astype(m.dtype) * m, params, state["mu"])


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
