"""Schedule-free training."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.around import Around
from optchain.core.holes import holed
from optchain.core.lift import technique
from optchain.core.numbers import Number, Range, at, checked
from optchain.core.numerics import incremented
from optchain.core.routing import Given
from optchain.core.transform import Transform, transform
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class ScheduleFree(Around):
    """Steps z by `inner`, averages it, and trains on a point between the two.

    State under its name: `count`; `z`, a tree like the parameters; `weight_sum`; `b1`, with which the parameters were
    interpolated.
    """

    learning_rate: Number
    b1: Number
    weight_lr_power: Number
    decay_at_z: bool

    name = "schedule_free"
    needs_params = True

    def begin(self, params: Any) -> dict[str, Any]:
        zero = jnp.zeros((), jnp.float32)
        # A copy of its own: a buffer shared with the parameter could not be donated together with it.
        return {
            "count": jnp.zeros((), jnp.int32),
            "z": jax.tree.map(jnp.copy, params),
            "weight_sum": zero,
            "b1": jnp.asarray(at(self.b1, jnp.zeros((), jnp.int32)), jnp.float32),
        }

    def shown(self, own: dict[str, Any]) -> dict[str, Any]:
        return {"b1": own["b1"], "weight_sum": own["weight_sum"]}

    def modify(self, updates: Any, state: Any, params: Any, routed: dict[str, Given]) -> tuple[Any, dict[str, Any]]:
        own, step = state[self.name], routed[""].step
        step = own["count"] if step is None else step
        new, inner = self.inner_step(updates, state, own["z"] if self.decay_at_z else params, routed)
        rate, power, b1 = (jnp.asarray(at(x, step), jnp.float32) for x in self._numbers())
        weight = rate**power
        weights = own["weight_sum"] + weight
        share = weight / jnp.where(weights > 0, weights, 1)
        x = averaged(own, params)
        z = jax.tree.map(jnp.add, own["z"], new)

        def move(x: jax.Array, z: jax.Array, y: jax.Array) -> jax.Array:
            # What x goes towards z, and y stands b1 of the way from z to x.
            return z + b1.astype(z.dtype) * (1 - share.astype(z.dtype)) * (x - z) - y

        after = {"count": incremented(own["count"]), "z": z, "weight_sum": weights, "b1": b1}
        return jax.tree.map(move, x, z, params), {self.name: after, "inner": inner}

    def _numbers(self) -> tuple[Number, Number, Number]:
        return self.learning_rate, self.weight_lr_power, self.b1


def averaged(own: dict[str, Any], params: Any) -> Any:
    """The average x, from the parameters that were interpolated between it and z."""

    def leaf(z: jax.Array, y: jax.Array) -> jax.Array:
        b1 = own["b1"].astype(z.dtype)
        return z + (y.astype(z.dtype) - z) / b1

    return jax.tree.map(leaf, own["z"], holed(params, own["z"]))


@technique(tx=scale(-0.1), learning_rate=0.1)
def schedule_free(
    tx: optax.GradientTransformation,
    learning_rate: Number,
    b1: Number = 0.9,
    weight_lr_power: Number = 2.0,
    *,
    decay_at_z: bool = False,
) -> Transform:
    r"""Turns a transformation's steps into those of a point between its own iterates and their average.

    .. math::
        z \leftarrow z + \mathrm{tx}(g), \qquad
        x \leftarrow (1 - c) x + c z, \quad c = \frac{\eta^r}{\sum_{s \le t} \eta_s^r}, \qquad
        y = (1 - b_1) z + b_1 x, \qquad u = y - p

    The parameters are y, where gradients are taken; `averaged_params(state, params)` gives x, which is to be evaluated
    and kept. No schedule that falls to 0 is needed, only a warm-up. `tx` has no momentum of its own: b1 takes its
    place.

    Args:
        tx: any transformation, with its learning rate: `oc.adamw(rate, b1=0.0)`, or the presets `schedule_free_sgd` and
            `schedule_free_adamw`.
        learning_rate: :math:`\eta`, that of `tx`, at least 0, which weighs the iterates; a schedule is read from step 0
            on. An override by `hyper` changes the rate of `tx`, not these weights.
        b1: :math:`b_1`, in (0, 1].
        weight_lr_power: r, at least 0; with 0 all iterates weigh the same.
        decay_at_z: show `tx` the iterates z as parameters, so that its weight decay acts on them, instead of y.

    Metrics: `schedule_free.b1`, `schedule_free.weight_sum`.

    Shapes and dtypes: any; `z` is like the parameter, in float32 or wider. The average is computed from y and z, so
    low-precision parameters need `precision` around this.

    Differs from the paper: nothing; its code weighs by the largest rate so far, which is the same until the rate falls.

    Raises:
        ValueError: a number out of its range, or `decay_at_z` that is not a bool.

    References:
        Defazio et al., 2024, equations 3 to 5 and Algorithm 1. https://arxiv.org/abs/2405.15682

    >>> import optchain as oc
    >>> rate = oc.linear(0.0, 1.0, 100)
    >>> tx = oc.schedule_free(oc.sgd(rate), rate)
    """
    numbers = {"learning_rate": (learning_rate, "[0, inf)"), "b1": (b1, "(0, 1]")}
    numbers["weight_lr_power"] = (weight_lr_power, "[0, inf)")
    given = {name: checked("schedule_free", name, x, Range(interval)) for name, (x, interval) in numbers.items()}
    return transform(ScheduleFree(tx, **given, decay_at_z=checked("schedule_free", "decay_at_z", decay_at_z, bool)))
