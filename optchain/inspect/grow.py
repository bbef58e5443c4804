"""Parameters of a small model as those of a larger one that computes the same function."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from optchain.core.paths import map_named, named_leaves
from optchain.inspect.grow_plan import Rules, planned
from optchain.inspect.grown_leaf import Source
from optchain.inspect.grown_state import grown_state
from optchain.inspect.migrate import Report


@dataclasses.dataclass(frozen=True)
class Growth:
    """How a small model became a larger one; made by `grow`.

    Fields:
        sources: by path of the larger model, where that leaf comes from.
    """

    sources: Mapping[str, Source]

    def tree(self, old: Any, like: Any) -> Any:
        """Another tree of parameters, such as an average of them, as one of the larger model.

        Args:
            old: a tree like the parameters of the small model, or a part of them.
            like: the same part of the larger model, as it begins: for structure, shapes, dtypes, and what is new.

        Shapes and dtypes: those of `like`.
        """
        before = dict(named_leaves(old))

        def of(path: str, fresh: Any) -> jax.Array:
            source = self.sources[path]
            return source.value(None if source.path is None else before[source.path], fresh)

        return map_named(of, like)

    def state(self, state: Any, tx: Any, old: Any, new: Any, after: Any = None) -> tuple[Any, Report]:
        """The optimizer's state for the larger model, and what became of each link; see `grow`.

        Args:
            state: the state of `tx` for the small model.
            tx: any transformation.
            old: the parameters of the small model.
            new: those of the larger one, as `grow` made them.
            after: the transformation for the larger model where it differs in what follows from shapes, as a `mup` of
                a deeper base model does; `tx` if left out.

        Shapes and dtypes: those of `tx.init(new)`.
        """
        return grown_state(self.sources, state, tx, old, new, tx if after is None else after)


def grow(
    params: Any,
    like: Any,
    axes: Mapping[str, str] = {},  # noqa: B006, not changed
    *,
    identity: Sequence[str] = (),
    zero: Sequence[str] = (),
    sources: Mapping[str, str] = {},  # noqa: B006, not changed
    layers: Sequence[str] = (),
    stack: bool = False,
    factors: Mapping[str, float] = {},  # noqa: B006, not changed
    noise: float = 0.0,
    seed: int = 0,
) -> tuple[Any, Growth]:
    r"""Make the parameters of a larger model from those of a small one, so that it computes the same function.

    A unit j of the larger model is a copy of the unit g(j) of the small one, of which there are :math:`c_j` copies, the
    first one included. What leads to a unit is copied; what sums over it is divided by the number of its copies
    (Net2WiderNet):

    .. math::
        U_{ij} = \frac{W_{g(i) h(j)}}{c_i} + \epsilon_{ij},
        \qquad \sum_{i:\, g(i) = k} \epsilon_{ij} = 0

    with the map g of the units that are summed over and h of those to which they lead. New layers begin as the identity
    (Net2DeeperNet), with 0, or as the larger model begins them.

    `growth.state(state, tx, params, new)` carries the optimizer's state along. By the chain rule the gradient of a copy
    is that of its original over the copies of the units to which it leads, :math:`G_{g(i) h(j)} / c_j`. Means of
    gradients are therefore divided by :math:`c_j`, and means of squares by :math:`c_j^2`: they are what the larger
    model would have gathered from the same examples, and Adam steps a copy as it stepped the original. Slots of new
    layers begin as `tx.init` makes them, and those of copied layers as copies, because the size of their gradients is a
    better guess than 0; averages of parameters, slow and initial ones grow as parameters do. A link that keeps anything
    else (factors of matrices, masks, codes, one number per leaf) is started again as a whole, its count included; the
    report lists it under `created`.

    Args:
        params: of the small model.
        like: of the larger model, as it begins: for structure, shapes, dtypes, and what is new in it.
        axes: by pattern on paths of `like`, which units each axis counts: the leaf sums over those left of the arrow
            and leads to those on the right. `{"Dense_0/kernel": "_ -> hidden", "Dense_0/bias": "-> hidden"}`, and
            `"hidden -> _"` for the next kernel. `_` is an axis that does not grow; a group is one axis that counts
            several things, the last one fastest, `"(_ channels) -> hidden"`. `/name` on the right is summed over all
            the same, as is the size of a head in a query, which is multiplied by keys.
        identity: patterns on new layers that begin as the identity: matrices as that, vectors with 0. That keeps the
            function where the activation behind them leaves their inputs as they are, as relu does after a relu.
        zero: patterns on what begins with 0 where it is new, such as the last matrix of a residual block.
        sources: by pattern on paths of `like`, the path in the small model that a leaf comes from, if it is another;
            each `*` stands for the same on both sides.
        layers: patterns on leaves whose first axis counts stacked layers; new ones come last.
        stack: new layers of `layers` are copies of those below, in their order (progressive stacking). That changes
            the function.
        factors: by pattern, a number by which a leaf is multiplied as well; gradients are divided by it.
        noise: standard deviation of :math:`\epsilon`, as a part of the root mean square of the leaf, at least 0. With
            0, and without dropout, copies get the same gradients forever, and the larger model learns what the small
            one does.
        seed: of the noise, and of which units have one copy more.

    Returns:
        The new parameters, with the structure of `like`, and a `Growth`.

    Shapes and dtypes: those of `like`; computed in float32 or wider. On several devices, place the result with
    `jax.device_put`.

    Raises:
        ValueError: something would become smaller, a leaf grows along an axis without a name, leaves disagree about the
            number of units, a pattern matches nothing, or a leaf of the small model has no place.

    Differs from the paper: there the originals of copies are drawn with replacement; here copies are dealt out evenly,
    so that all units have the same number where the size is a multiple, as norms over the units need it. There noise
    is added to the weights that lead to copies, which changes the function a little; here to those that lead away
    from them, and it cancels (LEMON gives unequal shares). The papers do not carry the optimizer's state.

    References:
        Chen et al., 2015, Algorithm 1 and section 2.3 (Net2Net). https://arxiv.org/abs/1511.05641
        Gong et al., 2019, "Efficient Training of BERT by Progressively Stacking", Algorithm 1. ICML 2019.
        Wang et al., 2023, section 4 (LEMON). https://arxiv.org/abs/2310.07999

    >>> import optchain as oc
    >>> import jax.numpy as jnp
    >>> small = {"in": jnp.array([[1.0, 2.0]]), "out": jnp.array([[3.0], [5.0]])}
    >>> like = {"in": jnp.zeros((1, 4)), "out": jnp.zeros((4, 1))}
    >>> new, growth = oc.grow(small, like, {"in": "_ -> units", "out": "units -> _"})
    >>> print(new["in"], new["out"][:, 0])
    [[1. 2. 1. 2.]] [1.5 2.5 1.5 2.5]
    """
    before, after = dict(named_leaves(params)), dict(named_leaves(like))
    rules = Rules(dict(axes), identity, zero, dict(sources), layers, stack, dict(factors), noise, seed)
    try:
        growth = Growth(planned(before, after, rules))
    except ValueError as error:
        raise ValueError(f"grow: {error}") from None
    return growth.tree(params, like), growth
