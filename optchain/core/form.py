"""How a law sees a leaf: whole on each device, one layer at a time, and each layer through its matrix view."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from optchain.core.gather import gathered, scattered
from optchain.core.law import Law
from optchain.core.layers import Layers, depths
from optchain.core.parts import Parts
from optchain.core.paths import matches, named_leaves
from optchain.core.rule import core_of
from optchain.core.views import PartedView, View, Views, view


@dataclasses.dataclass(frozen=True)
class Form:
    """The leading axes that count layers, the view of what follows, and how many axes of that count layers again.

    `whole` says that the law multiplies across the matrix, which must then be whole on each device.
    """

    depth: int = 0
    view: View | Parts | None = None
    shown_depth: int = 0
    whole: bool = False

    def over(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of one array (or matrix that a view shows) as one of the whole leaf; its arguments are trees."""
        seen, function = self.view, _mapped(function, self.shown_depth)
        if seen is None:
            return _mapped(function, self.depth)
        if isinstance(seen, Parts):
            return _mapped(seen.each(function), self.depth)

        def through(*args: Any) -> Any:
            # An axis that is sharded and explicit can be neither merged nor cut.
            return jax.tree.map(seen.back, function(*jax.tree.map(lambda x: seen(gathered(x, 0)), args)))

        return _mapped(through, self.depth)

    def around(self, law: Law) -> Law:
        """The law of a leaf, from that of one array: gather, layers, view, law, and back to the leaf's own layout."""
        over = self.over(law)

        def law_of_leaf(*leaf: Any) -> tuple[Any, Any]:
            inside = jax.tree.map(lambda x: gathered(x, self.depth, leaf[0]), leaf) if self.whole else leaf
            return jax.tree.map(scattered, over(*inside), leaf[:2])

        return law_of_leaf


PLAIN = Form()


def _mapped(function: Callable[..., Any], times: int) -> Callable[..., Any]:
    for _ in range(times):
        function = jax.vmap(function)
    return function


def forms(name: str, rule: Any, layers: Layers | None, views: Views, tree: Any) -> list[Form]:
    """The form of each leaf for a rule; an elementwise one sees it as it is.

    Raises:
        ValueError: a leaf with other axes than the rule looks across.
    """
    leaf_forms = []
    for (leaf, x), depth in zip(named_leaves(tree), depths(layers, tree), strict=True):
        shape = x.shape[depth:]
        text = next((text for pattern, text in views.items() if matches(leaf, pattern)), None)
        seen = None if text is None else _viewed(name, leaf, text, shape)
        rank = len(shape) if seen is None else 2
        core = core_of(rule, rank)
        if core in (1, 2) and rank != core and not (core == 1 and (rule.any_rank or seen is not None)):
            described = f"leaf {leaf!r} has shape {x.shape}" + (f", {depth} of it layers" if depth else "")
            cure = "declare layers with over_layers or a view with as_matrices, or leave it out with a mask"
            raise ValueError(f"{name} looks across {core} axes: {described}; {cure}")
        shown = () if seen is None else seen.parts[0].shown if isinstance(seen, PartedView) else seen.shown
        shown_depth = 0 if seen is None else len(shown) - (1 if core == 1 else 2)
        if isinstance(seen, PartedView):
            seen = Parts.of(seen, _mapped(rule.init, shown_depth))
        leaf_forms.append(PLAIN if core == 0 else Form(depth, seen, shown_depth, whole=core == 2))
    return leaf_forms


def _viewed(name: str, leaf: str, text: str, shape: tuple[int, ...]) -> View | PartedView:
    try:
        return view(text, shape)
    except ValueError as error:
        raise ValueError(f"{name}, leaf {leaf!r}: {error}") from None
