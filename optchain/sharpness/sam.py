"""Sharpness-aware minimization."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.around import Around
from optchain.core.door import like, require_shapes
from optchain.core.lift import technique
from optchain.core.numbers import Number, Range, at, checked
from optchain.core.numerics import global_norm, incremented, wide
from optchain.core.routing import Given
from optchain.core.transform import Transform, transform
from optchain.core.trees import dot, max_abs
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class Sam(Around):
    """Steps by `inner` on the gradient of perturbed parameters.

    State under its name: `count`.
    """

    rho: Number

    name = "sam"
    mixes = True
    on_shards = True
    needs_params = True
    reads = ("grad_fn",)

    def begin(self, params: Any) -> dict[str, Any]:
        return {"count": jnp.zeros((), jnp.int32)}

    def modify(self, updates: Any, state: Any, params: Any, routed: dict[str, Given]) -> tuple[Any, dict[str, Any]]:
        own, given = state[self.name], routed[""]
        step = own["count"] if given.step is None else given.step

        def sharp() -> Any:
            moved = self.perturbed(updates, params, at(self.rho, step))
            return like(self.gradients(moved, given.extra.get("grad_fn")), updates)

        grads, slots = self.combined(updates, sharp, own, step)
        new, inner = self.inner_step(grads, state, params, routed)
        return new, {self.name: {"count": incremented(own["count"]), **slots}, "inner": inner}

    def combined(self, grads: Any, sharp: Callable[[], Any], own: Any, step: jax.Array) -> tuple[Any, dict[str, Any]]:
        """The gradient that `inner` sees, from that at the parameters and, computed on call, that at the perturbed
        ones; and the wrapper's own slots."""
        return sharp(), {}

    def perturbed(self, grads: Any, params: Any, rho: Any) -> Any:
        """The parameters where the loss is highest nearby, to first order."""
        scales = self.scales(params)
        return ascended(params, jax.tree.map(jnp.multiply, scales, grads), scales, rho)

    def scales(self, params: Any) -> Any:
        """The length in each entry of the neighborhood."""
        return jax.tree.map(jnp.ones_like, params)

    def gradients(self, params: Any, grad_fn: Callable[[Any], Any] | None) -> Any:
        """The gradients at other parameters."""
        if not callable(grad_fn):
            expected = "call update(grads, state, params, grad_fn=lambda params: jax.grad(loss)(params, batch))"
            raise ValueError(f"{self.name} computes gradients at other parameters: {expected}")
        grads = grad_fn(params)
        require_shapes(self.name, params, grads, "results of grad_fn")
        return jax.tree.map(wide, grads)


def ascended(params: Any, scaled: Any, scales: Any, rho: Any) -> Any:
    """The parameters moved by `rho` along the scaled gradient, in the metric of the scales."""
    unit, _ = normalized(scaled)
    return plus(params, rho, jax.tree.map(jnp.multiply, scales, unit))


def normalized(tree: Any) -> tuple[Any, jax.Array]:
    """The tree scaled to the norm 1 of all its leaves together, and its norm; a tree of zeros stays one."""
    # By the largest entry first: the squares of tiny or huge entries leave the range of float32.
    largest = max_abs(tree)
    scaled = divided(tree, largest)
    length = global_norm(scaled)
    return divided(scaled, length), largest.astype(length.dtype) * length


def divided(tree: Any, number: jax.Array) -> Any:
    """The tree over a number; unchanged where that is 0."""
    return jax.tree.map(lambda x: x / jnp.where(number == 0, 1, number).astype(x.dtype), tree)


def perpendicular(tree: Any, other: Any) -> Any:
    """What remains of a tree without its component along another."""
    unit, _ = normalized(other)
    return plus(tree, -dot(tree, unit), unit)


def plus(tree: Any, number: Any, other: Any) -> Any:
    """The tree and a multiple of another, each leaf in its own dtype."""
    return jax.tree.map(lambda x, y: x + jnp.asarray(number, x.dtype) * y.astype(x.dtype), tree, other)


@technique(tx=scale(-0.1))
def sam(tx: optax.GradientTransformation, *, rho: Number = 0.05) -> Transform:
    r"""Gives a transformation the gradient at the worst parameters nearby instead of that at the parameters.

    .. math::
        \hat g = \nabla L\Bigl(p + \rho \frac{g}{\lVert g \rVert}\Bigr), \qquad u = \mathrm{tx}(\hat g)

    The second gradient comes from the extra argument `grad_fn`, a function from parameters to gradients on the same
    batch: `oc.apply(tx, grads, state, params, grad_fn=lambda p: jax.grad(loss)(p, batch))`, within the jitted step. It
    passes through chains and guards; around accumulation, `sam(accumulate(tx, 4))`, each micro-batch has its own. The
    parameters that it gets are float32 or wider.

    Args:
        tx: any transformation; all of it sees the second gradient, so that a clip before it is not one of that.
        rho: :math:`\rho`, radius of the neighborhood, at least 0; a number or a schedule.

    Shapes and dtypes: any; the norm is that of all leaves, in float32 or wider. It stands outside of masks and groups,
    for `grad_fn` takes whole parameters. A gradient of 0 perturbs nothing.

    Differs from the paper: the norm is Euclidean (p = 2).

    Raises:
        ValueError: no `grad_fn`, or one that returns other leaves than the parameters; no parameters.

    References:
        Foret et al., 2020, Algorithm 1 and equation 2. https://arxiv.org/abs/2010.01412

    >>> import optchain as oc
    >>> tx = oc.sam(oc.sgd(0.1, momentum=0.9), rho=0.05)
    """
    return transform(Sam(tx, checked("sam", "rho", rho, Range("[0, inf)"))))
