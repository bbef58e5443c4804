"""Sparse training: weights that are pruned are exactly zero, no matter which optimizer updates them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.around import Around, first_held, stepped
from optchain.core.definition import Result
from optchain.core.door import widened
from optchain.core.lift import technique
from optchain.core.mask import Mask, is_kernel
from optchain.core.numbers import SEED, Scalar, Seed, checked
from optchain.core.numerics import incremented, wide
from optchain.core.routing import Given
from optchain.core.transform import Transform, advance, ours, propose, start, step, transform
from optchain.pruning.choice import Choice
from optchain.pruning.distributions import SPARSITY, Distribution, checked_distribution
from optchain.pruning.masked import masked, part_of, where_masked
from optchain.pruning.one_shot import one_shot
from optchain.pruning.purge import purged
from optchain.pruning.regrow import Regrow
from optchain.pruning.schedule import MaskSchedule
from optchain.pruning.scores import Score, checked_score, needs_gradient
from optchain.pruning.structures import Groups, structure_of
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class Sparse(Choice, Around):
    """Steps the weights in the masks by `inner` and holds all others at 0.

    State under its name: `count`; `masks`, bools like the parameters that have a mask; `sparsity`, the part of their
    entries that is pruned; `changed`, entries that the last step pruned or grew; and, where the schedule keeps them,
    the `dense` weights, in float32 or wider.
    """

    name = "sparse"
    mixes = True

    def shown(self, own: dict[str, Any]) -> dict[str, Any]:
        return {"sparsity": own["sparsity"], "changed": own["changed"]}

    def begin(self, params: Any) -> dict[str, Any]:
        own = {"count": jnp.zeros((), jnp.int32)} | self.first(params)
        # A copy of its own: a buffer shared with the parameter could not be donated together with it.
        dense = {"dense": part_of(own["masks"], jax.tree.map(jnp.copy, params))} if self.schedule.keeps_dense else {}
        return own | dense

    def start(self, params: Any) -> dict[str, Any]:
        own = self.begin(widened(params))
        inner = first_held("", self.inner, start(self.inner, self._view(own, params)))
        return self.with_shown({self.name: own, "inner": inner})

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        return self._update(step, updates, state, params, given)

    def propose(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        return self._update(propose, grads, state, params, given)

    def advance(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        """One step that rounds to the parameters' dtype once, with zeros outside the masks."""
        own, grads, inner, view, given = self._begun(grads, state, params, given)
        after, inner = stepped("", self.inner, grads, inner, view, given, advance)
        new = where_masked(own["masks"], lambda mask, x, p: jnp.where(mask, x, 0).astype(p.dtype), after, params)
        if self.schedule.keeps_dense:
            own["dense"] = part_of(own["masks"], after)
        return new, self.with_shown({self.name: own, "inner": inner}), {}

    def outgoing(self, new: Any, grads: Any, params: Any) -> Any:
        def cast(u: jax.Array, g: jax.Array, p: jax.Array) -> jax.Array:
            # In a dtype in which -p is exact, so that `optax.apply_updates` lands on 0.
            return u.astype(p.dtype if g.dtype == p.dtype else wide(p).dtype)

        return jax.tree.map(cast, new, grads, params)

    def _update(self, how: Any, grads: Any, state: Any, params: Any, given: Given) -> Result:
        """One update, in float32 or wider, that leads to exactly 0 outside the masks."""
        own, grads, inner, view, given = self._begun(grads, state, params, given)
        new, inner = stepped("", self.inner, grads, inner, view, given, how)
        if not self.schedule.keeps_dense:
            new = where_masked(own["masks"], lambda mask, u, p: jnp.where(mask, u, -wide(p)), new, params)
            return new, self.with_shown({self.name: own, "inner": inner}), {}
        dense = jax.tree.map(lambda w, u: wide(w) + u, view, new)
        new = where_masked(own["masks"], lambda mask, u, w, p: jnp.where(mask, w, 0) - wide(p), new, dense, params)
        return new, self.with_shown({self.name: own | {"dense": part_of(own["masks"], dense)}, "inner": inner}), {}

    def _begun(self, grads: Any, state: Any, params: Any, given: Given) -> tuple[Any, Any, Any, Any, Given]:
        """The wrapper's own arrays, with new masks where they are due; and what `inner` receives: gradients, its state,
        parameters and the rest of the call."""
        self.require_state(state)
        self.require_params(params)
        old = state[self.name]
        weights = self._view(old, params) if self.schedule.keeps_dense else params
        own = old | self.renewed(old, weights, grads, old["count"] if given.step is None else given.step)
        own["count"] = incremented(old["count"])
        view, inner = self._view(own, params), state["inner"]
        if not self.schedule.keeps_dense:
            # Before the step, not after it, where XLA would compute every slot twice: masked, and as the update reads
            # it. What was pruned before or is so now starts again.
            kept = jax.tree.map(jnp.logical_and, old["masks"], own["masks"])
            inner = purged(self.inner, inner, kept, view if ours(self.inner) else widened(view))
        routed = given.split(self.children())[""]
        return own, self._held(own, grads), inner, view, routed.with_extra(**self._elsewhere(own, given.extra))

    def _elsewhere(self, own: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
        """The functions among the extra arguments: a loss elsewhere is that of masked parameters too."""

        def seen(function: Callable[..., Any]) -> Callable[..., Any]:
            return lambda params, *args, **kwargs: function(masked(own["masks"], params), *args, **kwargs)

        functions = {name: seen(extra[name]) for name in ("grad_fn", "value_fn") if name in extra}
        if "grad_fn" not in functions:
            return functions
        gradient = functions["grad_fn"]
        return functions | {"grad_fn": lambda *args, **kwargs: self._held(own, gradient(*args, **kwargs))}

    def _view(self, own: dict[str, Any], params: Any) -> Any:
        """The parameters as `inner` sees them: the dense weights where there are some, else masked."""
        if not self.schedule.keeps_dense:
            return masked(own["masks"], params)
        return where_masked(own["masks"], lambda mask, p, w: w, params, own["dense"])

    def _held(self, own: dict[str, Any], grads: Any) -> Any:
        """The gradients as `inner` sees them."""
        return grads if self.schedule.keeps_dense else masked(own["masks"], grads)


@technique(tx=scale(-0.1), sparsity=0.5)
def sparse(
    tx: optax.GradientTransformation,
    sparsity: Scalar | None = None,
    mask: Mask | None = is_kernel,
    score: Score = "magnitude",
    distribution: Distribution = "uniform",
    schedule: MaskSchedule | None = None,
    structure: str | Sequence[int] = "unstructured",
    axis: int | None = None,
    seed: Seed = 0,
) -> Transform:
    r"""Trains some of the weights and holds the others at exactly 0, regardless of the transformation.

    .. math::
        p \leftarrow \begin{cases} p + \mathrm{tx}(m g, m p) & \text{where } m \\ 0 & \text{elsewhere} \end{cases}

    The mask m is chosen along four axes that go with one another:

    ================  ==================================================================================================
    `score`           what a weight is worth: `"magnitude"` :math:`|p|`, `"gradient"` :math:`|g|`, `"saliency"`
                      :math:`|p g|`, `"random"`, or a function of (parameter, gradient)
    `distribution`    how much of which parameter is pruned: `"uniform"`; `"erk"`, less where a layer is narrow, in
                      proportion to the sum over the product of its shape; `"global"`, the least scores of all
                      parameters together; or a table from patterns on paths to sparsities, for all others `sparsity`
    `schedule`        when: `one_shot`, `gradual`, `regrow` or `straight_through`
    `structure`       what is pruned together: `"unstructured"`, single entries; `"2:4"`, entries of which 2 are kept in
                      each 4 neighbors along an axis; `[4, 4]`, blocks of this shape on the last axes; `"channels"`, all
                      that has one index on an axis. Units are ranked by the mean score of their entries.
    ================  ==================================================================================================

    Exactly as many units are kept as the sparsity says, rounded; equal scores are told apart by their place. `tx` sees
    masked gradients and parameters, and remembers nothing of what is pruned: at the beginning of each step its slots
    like the parameter are there what its `init` makes of 0, but not its counts (see `regrow`).
    What `averaged_params` reads is masked too; an average costs least after `sparse`, in a chain around both.

    The masks are in the state from `init` on, but the parameters are the caller's: before the first step
    `masked_params(state, params)` are those that will be trained. It is the outermost wrapper or the last link of a
    chain, and stands around `precision` or within `guard` and `accumulate`. Through `update` a pruned weight gets the
    update -p, in a dtype in which `optax.apply_updates` makes it 0.

    Args:
        tx: any transformation, with its learning rate.
        sparsity: the part of the weights that is pruned in the end, in [0, 1); left out for `"2:4"`, which says it.
        mask: the parameters that have masks, as in every technique; by default kernels and embeddings.
        score: as above.
        distribution: as above.
        schedule: as above; `one_shot()` if left out.
        structure: as above.
        axis: the axis of groups, by default the last but one, which a dense layer sums over; or that of channels, by
            default the last one, its outputs. Axes that `over_layers` declares are not counted, and each layer is
            pruned as if it were alone.
        seed: of random scores, a hash of seed, step, path and element: a whole number or a key, which may be traced.

    Metrics: `sparse.sparsity`, the part of the weights that is pruned, of the parameters with masks;
    `sparse.changed`, how many the last step pruned or grew.

    Shapes and dtypes: any; the masks are bools like the parameters. Between changes they cost one byte read for each
    array that is read and masked, and no temporaries; masks that change need some 14 bytes for each weight, to sort the
    scores.

    Differs from the paper: nothing; see the schedules.

    Raises:
        ValueError: a sparsity outside [0, 1), an unknown word; at `init`, a parameter whose shape does not fit the
            structure, or a pattern that matches none.

    References:
        Evci et al., 2019, section 3 (ERK). https://arxiv.org/abs/1911.11134
        Zhou et al., 2021, section 2 (N:M). https://arxiv.org/abs/2102.04010

    >>> import optchain as oc
    >>> tx = oc.sparse(oc.adamw(1e-3), 0.9, distribution="erk", schedule=oc.gradual(begin=100, end=700, every=20))
    """
    if not isinstance(tx, optax.GradientTransformation):
        raise ValueError(f"sparse: tx must be a gradient transformation, got {tx!r}")
    schedule, units = one_shot() if schedule is None else schedule, structure_of(structure, axis)
    if not isinstance(schedule, MaskSchedule):
        expected = "one_shot(), gradual(...), regrow(...) or straight_through(...)"
        raise ValueError(f"sparse: schedule must be {expected}, got {schedule!r}")
    if isinstance(units, Groups):
        sparsity = _of_groups(units, sparsity, distribution)
    elif callable(sparsity) or sparsity is None:
        raise ValueError(f"sparse: sparsity must be a number in [0, 1), got {sparsity!r}; gradual(...) is a schedule")
    part = checked("sparse", "sparsity", sparsity, SPARSITY)
    if isinstance(schedule, Regrow) and needs_gradient(score):
        raise ValueError(f"sparse: regrow begins with a mask by 'random' or 'magnitude', score is {score!r}")
    return transform(
        Sparse(
            tx,
            part,
            mask,
            checked_score("sparse", "score", score),
            checked_distribution(distribution, part),
            schedule,
            units,
            checked("sparse", "seed", seed, SEED),
        )
    )


def _of_groups(units: Groups, sparsity: Any, distribution: Any) -> float:
    """The sparsity that N:M says."""
    said = 1 - units.keep / units.of
    if sparsity not in (None, said):
        raise ValueError(f"sparse: structure '{units.keep}:{units.of}' is a sparsity of {said:g}, got {sparsity}")
    if distribution != "uniform":
        raise ValueError(f"sparse: structure '{units.keep}:{units.of}' is uniform, got distribution {distribution!r}")
    return said
