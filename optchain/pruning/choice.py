"""The choice of masks, along its four axes: score, distribution, schedule and structure."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from optchain.core.branch import cond
from optchain.core.layers import Layers, depths
from optchain.core.mask import Mask, select
from optchain.core.numbers import Scalar, Seed
from optchain.core.numerics import wide
from optchain.core.paths import named_leaves
from optchain.masking.largest import share
from optchain.pruning.distributions import Distribution, densities
from optchain.pruning.part import Part
from optchain.pruning.schedule import MaskSchedule, Pool
from optchain.pruning.scores import Score, needs_gradient
from optchain.pruning.structures import Structure

Choose = Callable[[Pool], jax.Array]


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which weights are pruned, and when."""

    sparsity: Scalar
    mask: Mask | None
    score: Score
    distribution: Distribution
    schedule: MaskSchedule
    structure: Structure
    seed: Seed
    layers: Layers | None = None

    def first(self, params: Any) -> dict[str, Any]:
        """The masks before the first step, which keep all weights where those to be pruned are not known yet."""
        inside = select(self.mask, params, self.layers)
        leaves, treedef = jax.tree.flatten(params)
        kept = [jnp.ones_like(p, bool) if here else optax.MaskedNode() for p, here in zip(leaves, inside, strict=True)]
        masks = treedef.unflatten(kept)
        if self.schedule.begins_sparse and not needs_gradient(self.score):
            masks = self._chosen(masks, params, params, 0, self.schedule.chosen)
        return {"masks": masks, "sparsity": _sparsity(masks), "changed": jnp.zeros((), jnp.float32)}

    def renewed(self, old: dict[str, Any], params: Any, grads: Any, t: jax.Array) -> dict[str, Any]:
        """The masks of step t, the part of the weights that they prune, and how many changed."""
        due = self.schedule.due(t)
        if self.schedule.begins_sparse and needs_gradient(self.score):
            due = (t == 0) | due
        still = {name: old[name] for name in ("masks", "sparsity")} | {"changed": jnp.zeros((), jnp.float32)}
        if due is False:
            return still

        def renewed_masks() -> dict[str, Any]:
            masks = self._chosen(old["masks"], params, grads, t, lambda pool: self.schedule.renewed(pool, t))
            changed = jax.tree.map(lambda a, b: jnp.sum(a ^ b, dtype=jnp.float32), masks, old["masks"])
            total = sum(jax.tree.leaves(changed), jnp.zeros((), jnp.float32))
            return {"masks": masks, "sparsity": _sparsity(masks), "changed": total}

        return cond(due, renewed_masks, lambda: still)

    def _chosen(self, masks: Any, params: Any, grads: Any, t: Any, choose: Choose) -> Any:
        """The masks that the schedule makes of the old ones."""
        old, treedef = jax.tree.flatten(masks)
        inside = select(self.mask, params, self.layers)
        ps, gs = ([x for x, here in zip(jax.tree.leaves(xs), inside, strict=True) if here] for xs in (params, grads))

        def ranked(part: Part, mask: jax.Array, p: jax.Array, g: jax.Array) -> Ranked:
            def score(score: Score | None) -> jax.Array:
                return part.scores(self.score if score is None else score, wide(p), wide(g), self.seed, t)

            return Ranked(part, part.active(mask), score)

        rows = list(map(ranked, self._parts(params), old, ps, gs))
        kept = (self._together if self.distribution == "global" and rows else self._apart)(rows, t, choose)
        return treedef.unflatten([row.part.mask(x, p) for row, x, p in zip(rows, kept, ps, strict=True)])

    def _apart(self, rows: list["Ranked"], t: Any, choose: Choose) -> list[jax.Array]:
        """The units that are kept, where those of each layer of each parameter compete with one another."""
        paths, shapes, sizes = ([getattr(row.part, name) for row in rows] for name in ("path", "shape", "size"))
        kept = []
        for row, density in zip(rows, densities(self.distribution, self.sparsity, paths, shapes, sizes), strict=True):
            units = row.active.shape[-1]
            count = self.schedule.count(t, share(density, units), units)
            kept.append(choose(Pool(row.active, row.score, count, None)))
        return kept

    def _together(self, rows: list["Ranked"], t: Any, choose: Choose) -> list[jax.Array]:
        """The units that are kept, where all compete with one another."""

        def flat(xs: Iterable[jax.Array]) -> jax.Array:
            return jnp.concatenate([x.reshape(-1) for x in xs])

        sizes = flat(jnp.full(row.active.size, row.part.structure.size(row.part.shape)) for row in rows)
        total = sum(row.part.size for row in rows)
        count = self.schedule.count(t, share(1 - self.sparsity, total), total)
        active, ends = flat(row.active for row in rows), [0]
        kept = choose(Pool(active, lambda score: flat(row.score(score) for row in rows), count, sizes))
        for row in rows:
            ends.append(ends[-1] + row.active.size)
        return [kept[a:b].reshape(row.active.shape) for row, a, b in zip(rows, ends[:-1], ends[1:], strict=True)]

    def _parts(self, params: Any) -> list[Part]:
        """The parameters that have a mask.

        Raises:
            ValueError: one whose shape does not fit the structure.
        """
        leaves, layers = named_leaves(params), depths(self.layers, params)
        parts = []
        for (path, p), inside, depth in zip(leaves, select(self.mask, params, self.layers), layers, strict=True):
            if inside:
                part = Part(path, jnp.shape(p), depth, self.structure)
                misfit = self.structure.misfit(part.shape)
                if misfit:
                    layers_too = f", {depth} of its axes layers," if depth else ""
                    raise ValueError(f"sparse: leaf {part.path!r} of shape {part.stacked}{layers_too} {misfit}")
                parts.append(part)
        return parts


class Ranked(NamedTuple):
    """A parameter, its units that the old mask keeps, and the scores of its units by name."""

    part: Part
    active: jax.Array
    score: Callable[[Score | None], jax.Array]


def _sparsity(masks: Any) -> jax.Array:
    """The part of all entries that is pruned."""
    leaves = jax.tree.leaves(masks)
    pruned = sum((jnp.sum(~mask, dtype=jnp.float32) for mask in leaves), jnp.zeros((), jnp.float32))
    return pruned / max(sum(mask.size for mask in leaves), 1)
