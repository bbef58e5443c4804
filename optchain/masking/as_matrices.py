"""Matrix views: convolutions, attention heads and fused projections for techniques that look at matrices."""

from collections.abc import Mapping

import optax

from optchain.core.declare import declared
from optchain.core.lift import technique
from optchain.core.transform import Transform
from optchain.core.views import Views, sides
from optchain.stepsize.scale import scale


@technique(tx=scale(-0.1), views={})
def as_matrices(tx: optax.GradientTransformation, views: Views) -> Transform:
    """Declares how parameters with other axes than rows and columns are seen as matrices.

    What looks across a matrix refuses a parameter of another rank, for a convolution or an attention kernel would
    silently be many small matrices. A view says what is meant: names for the axes, an arrow, and the same names again
    in their new order. A group in brackets is one axis: merged on the right, taken apart on the left. The last two
    axes on the right are the matrix, all before them count layers, each of which is updated by itself.

    =========================  =================================================================
    `"h w i o -> (h w i) o"`   a convolution as one matrix
    `"d h k -> d (h k)"`       an attention kernel as one matrix, all heads together
    `"d h k -> h d k"`         the same, one matrix for each head
    `"d (3 k) -> 3 d k"`       queries, keys and values that are fused in one kernel, each by itself
    =========================  =================================================================

    Parts of unequal lengths along one axis are written as their sum; each part is updated by itself, as if it were a
    parameter. With 8 heads of queries that share 2 of keys and 2 of values, each head of length k:

    ==================================  ========================================================
    `"d (8+2+2 k) -> d (8+2+2 k)"`      queries, keys and values that are fused in one kernel
    `"d 8+2+2 k -> d (8+2+2 k)"`        the same, where the kernel has an axis for the heads
    `"d 512+128+128 -> d 512+128+128"`  the same, by the numbers of columns
    ==================================  ========================================================

    The result is `tx` with the declaration in each of its links, wrappers and groups included. Slots like the
    parameter keep its shape; of a parameter in parts, every other slot is one vector that holds those of all parts, one
    after the other. Elementwise techniques are the same either way, and see the parameter as it is;
    transformations of optax's do too. Axes declared by `over_layers` come before those of the view.

    Args:
        tx: any transformation.
        views: a table from patterns on paths to views; the first pattern that matches a parameter decides.

    Shapes and dtypes: any.

    Raises:
        ValueError: something else than a table, or a text that is no view; at `init` and `update`, a view that does
            not fit its parameter.

    >>> import optchain as oc
    >>> tx = oc.as_matrices(oc.adamw(1e-3), {"*/conv/kernel": "h w i o -> (h w i) o"})
    """
    if not isinstance(tx, optax.GradientTransformation):
        raise ValueError(f"as_matrices: tx must be a gradient transformation, got {tx!r}")
    if not isinstance(views, Mapping):
        raise ValueError(f"as_matrices: views must be a table from patterns to views, got {views!r}")
    for pattern, text in views.items():
        try:
            sides(text)
        except ValueError as error:
            raise ValueError(f"as_matrices, {pattern!r}: {error}") from None
    return declared(tx, views=dict(views))
