"""Differentially private gradients: clipped for each example, summed, and noised."""

import dataclasses
import zlib
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.definition import Result
from optchain.core.joint import Joint
from optchain.core.lift import lift
from optchain.core.mask import select
from optchain.core.numbers import NonNegative, Positive, Seed
from optchain.core.numerics import clip_factor, global_norm, wide
from optchain.core.paths import map_named, named_leaves
from optchain.core.routing import Given
from optchain.core.rule import rule
from optchain.core.seeds import key_of


class PerExample(Joint):
    """Runs a joint rule on gradients with a leading axis for the examples, which the rule takes away.

    Gradients in the parameters' own shapes are a batch of one example.
    """

    def takes(self) -> frozenset[str]:
        return frozenset({"examples"})

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        """One update in float32 or wider, in the shapes of the parameters."""
        self.require_params(params)
        batched, mask = self._batched(updates, params), self.mask
        if mask is not None:  # which must not take the axis of the examples for one of the parameter's
            mask = jax.tree.unflatten(jax.tree.structure(params), select(mask, params, self.layers))
        link = dataclasses.replace(self, mask=mask)
        new, state, metrics = super(PerExample, link).step(batched, state, None, given)
        # What the mask leaves out is averaged and no more.
        return jax.tree.map(lambda u, p: u if u.ndim == p.ndim else wide(u).mean(0), new, params), state, metrics

    def _batched(self, updates: Any, params: Any) -> Any:
        """The updates with an axis for the examples, of which every leaf has as many."""
        if jax.tree.structure(updates) != jax.tree.structure(params):
            structure, wanted = jax.tree.structure(updates), jax.tree.structure(params)
            raise ValueError(f"{self.name}: the updates have the structure {structure}, the parameters {wanted}")
        if all(g.shape == p.shape for g, p in zip(*map(jax.tree.leaves, (updates, params)), strict=True)):
            return jax.tree.map(lambda g: g[None], updates)
        for (leaf, g), p in zip(named_leaves(updates), jax.tree.leaves(params), strict=True):
            if g.ndim != p.ndim + 1 or g.shape[1:] != p.shape:
                wanted = f"(examples, {', '.join(map(str, p.shape))})" if p.shape else "(examples,)"
                raise ValueError(f"{self.name}: leaf {leaf!r} has shape {g.shape}, wanted {wanted}")
        sizes = sorted({len(g) for g in jax.tree.leaves(updates)})
        if len(sizes) > 1:
            raise ValueError(
                f"{self.name}: the leaves have {' and '.join(map(str, sizes))} examples, wanted as many each"
            )
        return updates


@rule
class PrivateAggregate:
    r"""Turns the gradients of the single examples into their mean, each clipped, with noise that hides any one of them.

    .. math::
        u = \frac{1}{B} \left(\sum_{i=1}^{B} g_i \min\left(1, \frac{C}{\lVert g_i \rVert}\right)
        + \sigma C\, \mathcal{N}(0, I)\right)

    where the norm is that of all leaves of one example together. It is the first link of a chain; the gradients are
    those of `jax.vmap(jax.grad(loss), in_axes=(None, 0))`, with a leading axis for the examples in every leaf.
    Gradients in the shapes of the parameters are a batch of one.

    Fields:
        l2_norm_clip: C, the bound on the norm of one example's gradient, > 0.
        noise_multiplier: :math:`\sigma`, at least 0; with the part of the data in a batch and the number of steps it
            gives the privacy, which an accountant outside this library computes.
        key: of the noise, a whole number or a key of `jax.random`, which may be traced: each member of a vmapped
            ensemble draws its own noise from its own key. What is to be private needs one that nobody can guess.

    Metrics: `clipped`, the fraction of the examples whose gradient was clipped.

    Shapes and dtypes: any; leaves of shape (B, ...) become (...). No slots: the noise is a function of the key, this
    link's count and the leaf's path, the same however the parameters are sharded, and layers stacked in one array draw
    differently. It reads the parameters' shapes: `update` without them is an error. A NaN or infinity spoils the whole
    update. Leaves outside the mask are averaged, neither clipped nor noised: they are not private.

    Differs from the paper: nothing; B is the size of the batch at hand, where the paper divides by the expected one.

    References:
        Abadi et al., 2016, Algorithm 1. https://arxiv.org/abs/1607.00133

    >>> import optchain as oc
    >>> tx = oc.chain(oc.differentially_private_aggregate(1.0, noise_multiplier=1.1, key=7), oc.sgd(0.1))
    """

    l2_norm_clip: Positive
    noise_multiplier: NonNegative
    key: Seed = 0

    core_ndim = None
    metrics = ("clipped",)
    # Without noise, which depends on the path, stacked layers are updated as layers of their own.
    example = {"l2_norm_clip": 1.0, "noise_multiplier": 0.0}

    def update(self, g, s, p, t):
        leaves = jax.tree.leaves(g)
        if not leaves:
            return g, s, {"clipped": jnp.zeros(())}
        factors = clip_factor(jax.vmap(global_norm)(g), self.l2_norm_clip)
        std = self.noise_multiplier * self.l2_norm_clip

        def noised(leaf: str, x: jax.Array) -> jax.Array:
            # On a GPU or TPU the default precision of a product would be lower.
            total = jnp.einsum("i,i...->...", factors.astype(x.dtype), x, precision="highest")
            draw = jax.random.normal(self._key(leaf, t), total.shape, total.dtype)
            return (total + std * draw) / len(x)

        clipped = jnp.mean((factors < 1).astype(jnp.float32))
        return map_named(noised, g), s, {"clipped": clipped}

    def _key(self, leaf: str, t: jax.Array) -> jax.Array:
        """The key of one leaf's noise at one step."""
        at_step = jax.random.fold_in(key_of(self.key), t.astype(jnp.uint32))
        return jax.random.fold_in(at_step, zlib.crc32(leaf.encode()))


differentially_private_aggregate = lift(PrivateAggregate, "differentially_private_aggregate", PerExample)
