"""QK-Clip: a bound on the logits of attention, kept by shrinking the kernels of queries and keys."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.definition import Result
from optchain.core.factors import factors_of, multiplied
from optchain.core.holes import is_hole
from optchain.core.lift import technique
from optchain.core.numbers import Number, Positive, Range, checked
from optchain.core.numerics import wide
from optchain.core.paths import matches, named_leaves, names_of, nearest
from optchain.core.rule import rule
from optchain.core.runner import Now, Runner
from optchain.core.spread import across
from optchain.core.transform import Transform, transform
from optchain.core.whole import largest_over

Heads = Mapping[str, int]  # from patterns on paths to the axis that counts heads


@rule
class LogitBound:
    """The bound; which kernels it holds for is the runner's."""

    tau: Positive = 100.0

    needs_params = True
    metrics = ("max_logit",)


@dataclasses.dataclass(frozen=True)
class QKClip(Runner):
    """Shrinks kernels head by head; it remembers nothing."""

    kernels: Heads = dataclasses.field(default_factory=dict)
    rotary: Heads = dataclasses.field(default_factory=dict)

    @property
    def reads(self) -> tuple[str, ...]:
        return ("max_logits",)

    def slots(self, rule: Any, params: Any) -> dict[str, Any]:
        self._axes(params)
        return {}

    def run(self, rule: Any, updates: Any, slots: Any, params: Any, now: Now) -> Result:
        treedef = jax.tree.structure(updates)
        modules, axes = by_module(now.given.asked("max_logits", self.name)), self._axes(updates)
        if not modules:
            return updates, {}, {"max_logit": jnp.zeros(())}
        new = []
        for (path, g), p in zip(named_leaves(updates), treedef.flatten_up_to(params), strict=True):
            if path in axes:
                axis, power = axes[path]
                logits = over_heads(self._logits_of(path, modules), g.shape, axis, f"{self.name}: leaf {path!r}")
                tau = multiplied(self.name, rule, factors_of(now.given.factors, path), path).tau
                # One that is not finite, as where an overflow met a mask, says nothing about the weights.
                above = (logits > tau) & jnp.isfinite(logits)
                factor = (jnp.where(above, tau / jnp.where(above, logits, 1), 1) ** power).astype(g.dtype)
                # In this form an update of a head within the bound passes exactly.
                g = factor * g + (factor - 1) * p.astype(g.dtype)
            new.append(g)
        largest = [largest_over(jnp.max(x), across(x)) for x in modules.values()]
        return treedef.unflatten(new), {}, {"max_logit": jnp.max(jnp.stack(largest))}

    def _axes(self, tree: Any) -> dict[str, tuple[int, float]]:
        """The axis of the heads and the power of the factor, for each path that a pattern matches."""
        paths = names_of(tree, is_hole)
        axes = {}
        for table, power in ((self.rotary, 1.0), (self.kernels, 0.5)):
            for pattern, axis in table.items():
                hits = [path for path in paths if matches(path, pattern)]
                if paths and not hits:
                    raise ValueError(f"{self.name}: {pattern!r} matches no parameter; {nearest(pattern, paths)}")
                axes |= {path: (axis, power) for path in hits if path not in axes}
        return axes

    def _logits_of(self, path: str, modules: dict[str, jax.Array]) -> jax.Array:
        """The logits of the innermost module around a kernel."""
        around = [module for module in modules if not module or path.startswith(f"{module}/")]
        if not around:
            near = nearest(path, modules)
            raise ValueError(f"{self.name}: max_logits has no logits of a module around the kernel {path!r}; {near}")
        return modules[max(around, key=len)]


def by_module(logits: Any) -> dict[str, jax.Array]:
    """The logits by the path of their module; the largest of each head where a module was called several times."""
    maxima: dict[str, jax.Array] = {}
    for path, x in named_leaves(logits):
        module = re.sub(r"(^|/)max_logits(/value)?(/\d+)?$", "", path)
        maxima[module] = jnp.maximum(maxima[module], wide(x)) if module in maxima else wide(x)
    return maxima


def over_heads(logits: jax.Array, shape: tuple[int, ...], axis: int, owner: str) -> jax.Array:
    """The logits on the axes of a kernel of this shape: heads on their axis, layers on the first ones."""
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"{owner} has shape {shape} and so no axis {axis} of heads")
    axis, layers, heads = axis % len(shape), logits.shape[:-1], logits.shape[-1] if logits.ndim else 0
    if heads == 0 or heads % shape[axis] or shape[: len(layers)] != layers or axis < len(layers):
        expected = f"{shape[axis]} heads on axis {axis} of {shape}"
        raise ValueError(f"{owner} has {expected}, but its logits have the shape {logits.shape}")
    # Where query heads share a key, the largest of their logits.
    grouped = logits.reshape(*layers, shape[axis], -1).max(-1)
    between = [1] * (axis - len(layers))
    return grouped.reshape(*layers, *between, shape[axis], *[1] * (len(shape) - axis - 1))


@technique(kernels={"*": -1})
def clip_qk(kernels: Heads, tau: Number = 100.0, rotary: Heads | None = None) -> Transform:
    r"""Shrinks, head by head, the kernels of queries and keys after the step where an attention logit was too large.

    .. math::
        \gamma_h = \min\Bigl(1, \frac{\tau}{S_h}\Bigr), \qquad u = \sqrt{\gamma_h} (p + g) - p

    where :math:`S_h` is the largest logit of the head in the batch, before the softmax and after the division by the
    root of the head's size. As queries and keys both shrink, so do the logits of the head, by :math:`\gamma_h`. It is
    the last link of a chain: the incoming update must be the step that is taken.

    The logits are the extra argument `max_logits` of `update` and `oc.apply`: a tree with one array, of as many numbers
    as there are heads, for each attention module, at the module's path. Flax makes it where the module says
    `self.sow("intermediates", "max_logits", logits.max(axis=(0, 2, 3)))` of logits (batch, heads, queries, keys)::

        loss, sown = model.apply({"params": params}, batch, mutable="intermediates")  # within the loss, as its aux
        params, state = oc.apply(tx, grads, state, params, max_logits=sown["intermediates"])

    There a leaf `block/attention/max_logits` belongs to all kernels within `block/attention`; `{"block/attention":
    logits}` says the same, and a bare array is for all kernels. A step that has none passes `max_logits=None` and
    clips nothing; to give nothing is an error. The collection may hold nothing else.

    Args:
        kernels: a table from patterns on paths to the axis that counts heads, such as
            `{"*/query/kernel": -2, "*/key/kernel": -2}` for kernels (inputs, heads, size); likewise biases.
        tau: :math:`\tau`, the largest logit that is let be, positive; a number or a schedule.
        rotary: a table of the same kind for those that are scaled by :math:`\gamma_h` itself, for the other side is
            shared by all heads and stays: the rotary queries of latent attention.

    Metrics: `max_logit`, the largest logit of all heads.

    Shapes and dtypes: any kernel with an axis of heads; stacked layers come first in kernels and logits. It reads the
    parameters. Logits that are not finite clip nothing.

    Differs from the paper: where several query heads share a key, that is shrunk for the largest of their logits.

    Raises:
        ValueError: a pattern that matches no parameter; a kernel without logits, or with another number of heads.

    References:
        Kimi Team, 2025, Algorithm 1. https://arxiv.org/abs/2507.20534

    >>> import optchain as oc
    >>> heads = {"*/query/kernel": -2, "*/key/kernel": -2}
    >>> tx = oc.chain(muon=oc.muon(0.02, scale="rms"), qk=oc.clip_qk(heads))
    """
    for name, table in (("kernels", kernels), ("rotary", rotary or {})):
        if not isinstance(table, Mapping) or not all(type(axis) is int for axis in table.values()):
            raise ValueError(f"clip_qk: {name} must be a table from patterns to the axis of the heads, got {table!r}")
    bound = LogitBound(checked("clip_qk", "tau", tau, Range("(0, inf)")))
    return transform(QKClip(bound, "clip_qk", kernels=dict(kernels), rotary=dict(rotary or {})))
