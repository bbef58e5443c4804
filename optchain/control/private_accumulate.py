"""Gradient accumulation that hides each single example."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.clipping.private_aggregate import PerExample, differentially_private_aggregate
from optchain.control.extra_means import (
    WHOLE,
    begun_again,
    no_means,
    require_means,
    require_no_functions,
    with_means,
    with_sample,
)
from optchain.control.micro_batches import is_full, is_one, micro_batches
from optchain.core.around import Held
from optchain.core.branch import cond
from optchain.core.door import widened
from optchain.core.gate import Gate, Routed, Take
from optchain.core.leading import length, with_axis
from optchain.core.lift import technique
from optchain.core.numbers import Number, Range, Seed, checked
from optchain.core.numerics import incremented
from optchain.core.states import as_metrics
from optchain.core.transform import Transform, transform
from optchain.core.walk import definitions
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class PrivateAccumulate(Gate):
    """Adds the clipped gradients of examples, and steps on their noised mean.

    The parts of `private`, a `differentially_private_aggregate`, are run apart: the clip for each micro-batch, the
    noise for each step, which its count counts.

    State under its name: `micro`, micro-batches seen since the last step; `emitted`, steps made; of the batch that
    they belong to `examples`, their number, `clipped`, how many of them were, and `sum`, a tree like the parameters;
    `extras`, for each extra argument that `inner` reads its `mean` and the `weight` in that.
    """

    every: Number
    private: Any

    name = "differentially_private_accumulate"
    reads = ("emit",)
    mixes = True
    on_shards = True
    needs_params = True

    def others(self) -> dict[str, Any]:
        return {"private": self.private}

    def takes(self) -> frozenset[str]:
        return frozenset({"examples"})

    def begin(self, params: Any) -> dict[str, Any]:
        counts = {name: jnp.zeros((), jnp.int32) for name in ("micro", "emitted", "examples", "clipped")}
        return counts | {"sum": jax.tree.map(jnp.zeros_like, params), "extras": no_means(self.inner, params)}

    def shown(self, own: dict[str, Any]) -> dict[str, Any]:
        counts = {name: own[name] for name in ("micro", "emitted", "examples")}
        return counts | {"every": micro_batches(self.every, own["emitted"])}

    def run(self, grads: Any, state: Any, params: Any, routed: Routed, nothing: Any, take: Take) -> tuple[Any, Any]:
        own, link, given = state[self.name], self.private.link, routed[""].at(state[self.name]["emitted"])
        if not is_one(self.every):
            require_no_functions(self.name, self.inner, given.extra)
        rule, numbers = link.rule_at(grads, routed["private"].at(own["emitted"]))
        batch = with_axis(self.name, "examples", grads, own["sum"])
        total, clipped = rule.clipped_sum(widened(batch))
        begins, micro = own["micro"] == 0, incremented(own["micro"])
        full = is_full(self.every, own["emitted"], micro, given.extra)

        def add(old: jax.Array, new: Any) -> jax.Array:
            # What is left of the last batch, which may be a NaN, is selected away: no step need write zeros.
            new = jnp.asarray(new, old.dtype)
            return jnp.where(begins, new, old + new)

        seen = {"examples": length(batch), "clipped": clipped, "sum": total}
        seen = jax.tree.map(add, {name: own[name] for name in seen}, seen)
        weight = jnp.asarray(length(batch), jnp.float32)
        extras = with_sample(self.name, own["extras"], given.extra, weight, weight > 0)
        count = state["others"]["private"].state[link.name]["count"]

        def emit(inner: Any) -> tuple[Any, Any]:
            mean = rule.noised_mean(seen["sum"], seen["examples"], incremented(count).astype(jnp.float32))
            return with_means(self.name, extras, given, lambda given: take(mean, inner, given))

        # Whether a step is made depends on no gradient: what is left out, or not, would tell of it.
        result, inner = cond(full, emit, lambda inner: (nothing, inner), state["inner"])
        after = {
            "micro": jnp.where(full, 0, micro),
            "emitted": own["emitted"] + full.astype(jnp.int32),
            "extras": begun_again(extras, full),
        }
        shown = numbers | {"clipped": seen["clipped"] / jnp.maximum(seen["examples"], 1)}
        private = Held(
            {link.name: {"count": jnp.where(full, incremented(count), count)}},
            as_metrics({f"private.{name}": x for name, x in shown.items()}),
        )
        return result, {self.name: after | seen, "inner": inner, "others": {"private": private}}


@technique(tx=scale(-0.1), every=2, l2_norm_clip=1.0, noise_multiplier=0.0)
def differentially_private_accumulate(
    tx: optax.GradientTransformation,
    every: Number,
    l2_norm_clip: Number,
    noise_multiplier: Number,
    key: Seed = 0,
    *,
    batch_size: float | None = None,
) -> Transform:
    r"""Steps once every few micro-batches of gradients of single examples, on their clipped mean with noise.

    .. math::
        S \leftarrow S + \sum_{i} g_i \min\left(1, \frac{C}{\lVert g_i \rVert}\right), \qquad
        u = \mathrm{tx}\left(\frac{S + \sigma C\, \mathcal{N}(0, I)}{B}\right)\ \text{at the last},\ 0\ \text{else}

    This is `differentially_private_aggregate` of a batch that comes in parts: each example is clipped by itself, and
    noise is added once, the same as to the whole batch. To average micro-batches before the clip would hide no example,
    and noise for each would be more than the privacy needs. Between steps `tx` rests and the update is zero.

    Args:
        tx: any transformation that comes after the aggregate, such as `oc.sgd(0.1)`. Its schedules, and those of the
            numbers here, count the steps made, not the micro-batches.
        every: micro-batches for each step, at least 1, or a schedule of the steps made; rounded to a whole number.
        l2_norm_clip: C, the bound on the norm of one example's gradient, > 0; the number `private.l2_norm_clip`. An
            override by `hyper` must be the same in all micro-batches of a step.
        noise_multiplier: :math:`\sigma`, at least 0; the number `private.noise_multiplier`.
        key: of the noise, a whole number or a key of `jax.random`, which may be traced. What is to be private needs one
            that nobody can guess.
        batch_size: B, > 0, of all micro-batches of a step together; None is the number of examples seen. Where each
            example is drawn by itself (Poisson sampling) it must be the expected number; micro-batches may be empty
            then, and examples of gradient 0 that fill them up change nothing.

    `update` and `oc.apply` take the extra argument `emit`, a bool that may be traced: step now, on what has been seen
    since the last step and this micro-batch, as at the end of an epoch. A `value`, `validation` or `hessian` that `tx`
    reads is averaged over the examples, as in `accumulate`, and functions are refused; nothing hides the examples in
    these.

    No micro-batch is left out for what is in it: a NaN or infinity spoils the whole step, and a batch without examples
    makes a step of noise alone. A `guard` around decides by gradients that are not private; let it stand within:
    `differentially_private_accumulate(oc.guard(tx), ...)`.

    Metrics: `private.clipped`, the fraction of the examples that were clipped, of this batch so far;
    `differentially_private_accumulate.micro`, `.emitted`, `.examples` (seen, of this batch) and `.every`.

    Shapes and dtypes: any; leaves of shape (n, ...) with n examples each, which may differ between micro-batches,
    become (...); gradients in the shapes of the parameters are one example. The sum is like the parameters, in float32
    or wider. It reads the parameters' shapes: `update` without them is an error.

    Differs from the paper: nothing with the expected `batch_size`, the paper's L: its lot is the batch here, and its
    batch a micro-batch.

    Raises:
        ValueError: a number out of its range; a `tx` with a `differentially_private_aggregate` of its own, or one that
            reads what has no mean, unless `every` is 1; while tracing, leaves with different numbers of examples, or a
            function where a transformation of optax may call it.

    References:
        Abadi et al., 2016, Algorithm 1. https://arxiv.org/abs/1607.00133

    >>> import optchain as oc
    >>> tx = oc.differentially_private_accumulate(oc.sgd(0.1), 8, 1.0, noise_multiplier=1.1, key=7, batch_size=256)
    """
    name = PrivateAccumulate.name
    every = checked(name, "every", every, Range("[1, inf)"))
    if any(isinstance(link, PerExample) for _, link in definitions(tx)):
        aggregate = differentially_private_aggregate.__name__
        raise ValueError(f"{name}: tx has a {aggregate} of its own; give what comes after it, such as oc.sgd(0.1)")
    if not is_one(every):
        require_means(name, tx, dict.fromkeys(WHOLE, "leave {reader} out, which nothing here makes private"))
    private = differentially_private_aggregate(l2_norm_clip, noise_multiplier, key, batch_size=batch_size)
    return transform(PrivateAccumulate(tx, every, private))
