"""Matrices by owners: each device steps whole matrices of its own."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import optax

from optchain.core.dense import Dense
from optchain.core.lift import technique
from optchain.core.mask import is_kernel
from optchain.core.rule import core_of
from optchain.core.transform import Transform
from optchain.core.walk import definitions, rewritten
from optchain.matrices.muon import scale_by_muon
from optchain.sharding.owned import Owned


@technique(tx=scale_by_muon(mask=is_kernel), axis="x")
def distributed(tx: optax.GradientTransformation, axis: str | Sequence[str]) -> Transform:
    r"""Steps each matrix as a whole on one device along a mesh axis, its owner, instead of on all of them.

    What looks across a matrix (`scale_by_muon`, `scale_by_soap`, ...) multiplies it over and over. On a mesh each
    device does all of that, or sends parts of it in every product. Here the matrices of one shape, after layers and
    views, are a stack of L that is dealt out to the N devices along `axis`: gradients go to the owners, each steps its
    own :math:`\lceil L / N \rceil` matrices, and the updates go back to the layout of the parameters. Nothing is sent
    within a step of the technique, and slots stay with their owners.

    Where the matrices are split over one mesh axis, that is one all-to-all for a stack in each direction, and one more
    pair for each further axis; where each device has them all, one gather on the way back. Shapes that occur less than
    N times are spread over the owners, and skipped by the others.

    Stacks have room for a multiple of N matrices. Where that wastes (12 shapes that occur once, or 24 layers on 64
    devices), what remains of each stack beyond a multiple of N is dealt out together: the largest matrix first, each to
    the owner that is least full. Those of one owner lie one after another in its row of a flat buffer, in which slots
    stay and updates travel: two all-to-alls for all shapes together. That is so if the fullest owner would hold, or do,
    more than 1.2 times as much without it, and neither gets worse. The work of an :math:`m \times n` matrix is counted
    as :math:`m n \min(m, n)`, for all techniques. A matrix that is larger than an even part still fills its owner, and
    all others have as much room as it. On a mesh with automatic axes nothing says how matrices are laid out: they are
    taken to be split by rows, and XLA sends two more messages for each that is not.

    Everything else in `tx` is as before, and the updates are. The result is `tx` with the declaration in each link:
    nothing is wrapped. `guard`, `accumulate`, `precision`, `groups` may stand within or around.

    Args:
        tx: a transformation with links that look across matrices.
        axis: the name of a mesh axis, or several, whose devices together are the owners. Parameters bring their mesh;
            without one, all matrices have one owner.

    Shapes and dtypes: as for `tx`. A slot is not a tree like the parameters, but a table of stacks by the shape of the
    matrices and the number of owners, `{"64x128@8": f32[8,64,128]}`, split over the owners and padded to a multiple of
    them: a stack of 3 holds room for 8 on 8 devices. What is dealt out together is in the same table, with a row for
    each owner, as wide as the fullest needs it: `{"rest@8": f32[8,5120]}`. In codes (`precision`, around this or
    within it) a slot is two such tables, `{"codes": ..., "scales": ...}`: each owner decodes, steps and encodes its
    matrices a few at a time, and what the mask of `precision` or its `min_size` leaves in float32 is dealt out apart.
    Layouts are those of `oc.shardings`, which does not see into transformations of optax: put these inside a chain.
    Checkpoints keep `state_by_parameters`, with which any mesh goes on.

    Raises:
        ValueError: no link looks across matrices, or one has owners already; at `init` and `update`, a mesh without
            this axis, a call inside `shard_map` over it, a state for another number of owners.

    References:
        Liu et al., 2025, section 2.3 (a distributed Muon). https://arxiv.org/abs/2502.16982

    >>> import optchain as oc
    >>> tx = oc.distributed(oc.muon(0.02), axis="fsdp")
    """
    axes = (axis,) if isinstance(axis, str) else tuple(axis) if isinstance(axis, (list, tuple)) else ()
    if not axes or not all(isinstance(name, str) for name in axes) or len(set(axes)) < len(axes):
        raise ValueError(f"distributed: axis must be the name of a mesh axis, or several that differ; got {axis!r}")
    if not isinstance(tx, optax.GradientTransformation):
        raise ValueError(f"distributed: tx must be a gradient transformation, got {tx!r}")
    links = [link for _, link in definitions(tx)]
    already = [link for link in links if isinstance(link, Owned)]
    if already:
        raise ValueError(f"distributed: {already[0].name} has owners along {already[0].owners} already")
    if not any(map(_looks_across_matrices, links)):
        names = ", ".join(dict.fromkeys(link.name for link in links)) or "nothing of optchain's"
        raise ValueError(f"distributed: nothing in tx looks across matrices: it holds {names}; leave it as it is")
    return rewritten(tx, lambda link: _owned(link, axes) if _looks_across_matrices(link) else link)


def without_owners(tx: optax.GradientTransformation) -> Transform:
    """The transformation from which `distributed` made this one."""
    names = [field.name for field in dataclasses.fields(Dense)]
    return rewritten(
        tx, lambda link: Dense(**{x: getattr(link, x) for x in names}) if isinstance(link, Owned) else link
    )


def _looks_across_matrices(link: Any) -> bool:
    return isinstance(link, Dense) and core_of(link.rule, 2) == 2


def _owned(link: Dense, axes: tuple[str, ...]) -> Owned:
    return Owned(**{field.name: getattr(link, field.name) for field in dataclasses.fields(Dense)}, owners=axes)
