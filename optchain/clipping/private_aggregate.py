"""Differentially private gradients: clipped for each example, summed, and noised."""

import zlib
from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.factors import common
from optchain.core.leading import Leading, length, weighted
from optchain.core.lift import lift
from optchain.core.numbers import NonNegative, Positive, Range, Seed, Static
from optchain.core.numerics import clip_factor, global_norm
from optchain.core.paths import map_named, names_of
from optchain.core.routing import Given
from optchain.core.rule import rule
from optchain.core.seeds import key_of
from optchain.core.whole import drawn


class PerExample(Leading):
    """Runs a joint rule on gradients with a leading axis for the examples, which the rule takes away.

    Gradients in the parameters' own shapes are a batch of one example.
    """

    axis = "examples"

    def rest(self, u: jax.Array, given: Given) -> jax.Array:
        # What the mask leaves out is averaged and no more.
        return self.rule.mean(u.sum(0), len(u))

    def rule_at(self, updates: Any, given: Given) -> tuple[Any, dict[str, Any]]:
        """The rule at one step, and its numbers before factors, for whoever runs its parts apart."""
        rule, values = self._at(given.step, given.hyper)
        return common(self.name, rule, given.factors, names_of(updates)), values


@rule
class PrivateAggregate:
    r"""Turns the gradients of the single examples into their mean, each clipped, with noise that hides any one of them.

    .. math::
        u = \frac{1}{B} \left(\sum_{i=1}^{B} g_i \min\left(1, \frac{C}{\lVert g_i \rVert}\right)
        + \sigma C\, \mathcal{N}(0, I)\right)

    where the norm is that of all leaves of one example together. It is the first link of a chain; the gradients are
    those of `jax.vmap(jax.grad(loss), in_axes=(None, 0))`, with a leading axis for the examples in every leaf.
    Gradients in the shapes of the parameters are a batch of one. Where a batch comes in parts,
    `differentially_private_accumulate` does this for all of them together.

    Fields:
        l2_norm_clip: C, the bound on the norm of one example's gradient, > 0.
        noise_multiplier: :math:`\sigma`, at least 0; with the part of the data in a batch and the number of steps it
            gives the privacy, see `oc.privacy_spent`.
        key: of the noise, a whole number or a key of `jax.random`, which may be traced: each member of a vmapped
            ensemble draws its own noise from its own key. What is to be private needs one that nobody can guess.
        batch_size: B, > 0; None is the size of the batch at hand. Where each example is drawn by itself (Poisson
            sampling), as accountants assume, sizes vary, and B must be the expected one. Then a batch may be empty, and
            examples of gradient 0 that fill it up change nothing.

    Metrics: `clipped`, the fraction of the examples whose gradient was clipped.

    Shapes and dtypes: any; leaves of shape (B, ...) become (...). No slots: the noise is a function of the key, this
    link's count and the leaf's path, the same however the parameters are sharded, and layers stacked in one array draw
    differently. It reads the parameters' shapes: `update` without them is an error. A NaN or infinity spoils the whole
    update. Leaves outside the mask are averaged, neither clipped nor noised: they are not private.

    Differs from the paper: nothing with the expected `batch_size`, the paper's L.

    Raises:
        ValueError: a `batch_size` that is not a positive number, besides numbers out of their ranges.

    References:
        Abadi et al., 2016, Algorithm 1. https://arxiv.org/abs/1607.00133

    >>> import optchain as oc
    >>> tx = oc.chain(oc.differentially_private_aggregate(1.0, noise_multiplier=1.1, key=7), oc.sgd(0.1))
    """

    l2_norm_clip: Positive
    noise_multiplier: NonNegative
    key: Seed = 0
    _: KW_ONLY
    batch_size: Static[float | None] = None

    core_ndim = None
    on_shards = True
    metrics = ("clipped",)
    # Without noise, which depends on the path, stacked layers are updated as layers of their own.
    example = {"l2_norm_clip": 1.0, "noise_multiplier": 0.0}

    def __post_init__(self):
        b = self.batch_size
        if b is not None and (isinstance(b, bool) or not isinstance(b, (int, float)) or b not in Range("(0, inf)")):
            raise ValueError(f"differentially_private_aggregate: batch_size must be a number > 0 or None, got {b!r}")

    def update(self, g, s, p, t):
        count = length(g)
        total, clipped = self.clipped_sum(g)
        return self.noised_mean(total, count, t), s, {"clipped": clipped.astype(jnp.float32) / max(count, 1)}

    def clipped_sum(self, g: Any) -> tuple[Any, jax.Array]:
        """The sum of the clipped gradients of the examples, and how many of them were clipped."""
        if not jax.tree.leaves(g):
            return g, jnp.zeros((), jnp.int32)
        factors = clip_factor(jax.vmap(global_norm)(g), self.l2_norm_clip)
        return weighted(factors, g), jnp.sum(factors < 1, dtype=jnp.int32)

    def noised_mean(self, total: Any, examples: Any, t: jax.Array) -> Any:
        """A sum of clipped gradients with the noise of one step, over the size of the batch."""
        std = self.noise_multiplier * self.l2_norm_clip

        def noised(leaf: str, x: jax.Array) -> jax.Array:
            draw = drawn(lambda shape: jax.random.normal(self._key(leaf, t), shape, x.dtype), leaf, x)
            return self.mean(x + std * draw, examples)

        return map_named(noised, total)

    def mean(self, total: jax.Array, examples: Any) -> jax.Array:
        """A sum over so many examples, divided by the size of the batch."""
        size = jnp.maximum(examples, 1) if self.batch_size is None else self.batch_size
        return total / jnp.asarray(size, total.dtype)

    def _key(self, leaf: str, t: jax.Array) -> jax.Array:
        """The key of one leaf's noise at one step."""
        at_step = jax.random.fold_in(key_of(self.key), t.astype(jnp.uint32))
        return jax.random.fold_in(at_step, zlib.crc32(leaf.encode()))


differentially_private_aggregate = lift(PrivateAggregate, "differentially_private_aggregate", PerExample)
