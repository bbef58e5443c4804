"""Rprop."""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Positive, Range, Scalar
from optchain.core.rule import rule


class Steps(NamedTuple):
    step_size: jax.Array  # like p, the size of the next step
    last: jax.Array  # like p, the last update


@rule
class Rprop:
    r"""Steps by the sign of the gradient, by a size of each entry's own that grows until the sign changes.

    .. math::
        \Delta \leftarrow \begin{cases}
        \min(\eta^+ \Delta, \Delta_{max}) & \text{where}\ g\, u_{last} > 0 \\
        \max(\eta^- \Delta, \Delta_{min}) & \text{where}\ g\, u_{last} < 0 \\ \Delta & \text{else} \end{cases}
        \qquad
        u = \begin{cases} 0 & \text{where}\ g\, u_{last} < 0 \\ \Delta \operatorname{sign}(g) & \text{else} \end{cases}

    Fields:
        learning_rate: :math:`\Delta` before the first update, in the units of the parameter, positive; later values of
            a schedule do nothing.
        eta_minus: :math:`\eta^-`, where the sign has changed, in (0, 1).
        eta_plus: :math:`\eta^+`, where it has not, at least 1.
        min_step_size: :math:`\Delta_{min}`, in the units of the parameter, positive.
        max_step_size: :math:`\Delta_{max}`, in the units of the parameter, positive.

    Shapes and dtypes: any; the slots `step_size` and `last` are like the parameter, in float32 or wider. The update is
    the step itself: negate it, and leave a learning rate out.

    Differs from the paper: where the sign changes the entry rests for one step instead of going back by the last one
    (iRprop-), as in PyTorch. optax 0.2.8 has the same slots, but returns the update of the step before, 0 at first, and
    stops an entry at once where its sign changes.

    References:
        Riedmiller and Braun, 1993. doi:10.1109/ICNN.1993.298623
        Igel and Huesken, 2000, Algorithm 4 (iRprop-). Improving the Rprop Learning Algorithm, Proceedings of NC
    """

    learning_rate: Positive
    eta_minus: Annotated[Scalar, Range("(0, 1)")] = 0.5
    eta_plus: Annotated[Scalar, Range("[1, inf)")] = 1.2
    min_step_size: Positive = 1e-6
    max_step_size: Positive = 50.0

    example = {"learning_rate": 0.01}

    def init(self, p):
        return Steps(jnp.full_like(p, self.learning_rate), jnp.zeros_like(p))

    def update(self, g, s, p, t):
        sign = jnp.sign(g)
        agreement = sign * jnp.sign(s.last)
        factor = jnp.where(agreement > 0, self.eta_plus, self.eta_minus)
        changed = jnp.clip(s.step_size * factor, self.min_step_size, self.max_step_size)
        step_size = jnp.where(agreement == 0, s.step_size, changed)
        u = jnp.where(agreement < 0, 0, step_size * sign)
        return u, Steps(step_size, u)


scale_by_rprop = lift(Rprop, "scale_by_rprop")
