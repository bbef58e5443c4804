"""The door of the outermost definition: what is not ours stays outside, what does not fit is refused, once.

A parameter that is not a real floating array (an integer, a key, a function, `None`), or has no entries, is a hole
inside and comes out as it is. A parameter whose gradient is `None` or `float0` steps on zeros inside, so that states
keep their structure, and comes out as it is. One `None` may stand for the gradients of a whole subtree, or of all.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.holes import HOLE, folded, holed, is_hole, merged, spread
from optchain.core.numerics import wide
from optchain.core.paths import named_leaves, names_of, nearest
from optchain.core.row_gradient import is_row_gradient
from optchain.core.together import Together, require_taken

WIDE = {jnp.dtype(name) for name in ("float32", "float64")}
PLAIN = WIDE | {jnp.dtype(name) for name in ("bfloat16", "float16")}
ARRAYS = (jax.Array, np.ndarray, jax.ShapeDtypeStruct)
# What a leading axis of gradients may count, which the first link takes away.
AXES = frozenset({"examples", "tasks", "clients"})
ELSEWHERE = ("grad_fn", "value_fn")  # extra arguments that are functions of all parameters


class Door:
    """One call from outside: the trees that go in, and the way out for what comes of them.

    Where there are parameters alone, as in `init`, they are the updates too.
    """

    def __init__(self, definition: Any, params: Any, updates: Any) -> None:
        if isinstance(params, Together) or isinstance(updates, Together):
            require_taken(definition, params, updates)
        self._given, self._outside = updates, (params, updates)
        self._stays: frozenset[int] = frozenset()  # leaves that come out as they are
        self.unmovable: tuple[tuple[str, Any], ...] = ()  # leaves that are asked to move and cannot, with the gradient
        self._definition, self.params, self.updates = definition, params, updates
        if not _is_plain(params, updates):
            self._outside = (params, spread(updates, params))
            self._sort()
        self._inside = (self.params, self.updates)
        whole = self.updates if params is None else self.params
        moving = definition.moving(whole)
        self._frozen = None if moving is whole else whole
        if self._frozen is not None:
            self.params, self.updates = (None if x is None else holed(x, moving) for x in self._inside)

    def extra(self, given: dict[str, Any]) -> dict[str, Any]:
        """The extra arguments, whose functions of all parameters are called with what stays outside."""
        if not self._stays and self._frozen is None:
            return given
        return given | {name: self._elsewhere(given[name], name) for name in ELSEWHERE if callable(given.get(name))}

    def updates_out(self, new: Any) -> Any:
        """The updates in the dtypes that they are handed out in; gradients come out as they are where nothing moves."""
        params, updates = self._inside
        if self._frozen is not None:  # what its owner has frozen does not move
            new = merged(new, jax.tree.map(jnp.zeros_like, self._frozen))
        new = self._merged(self._definition.outgoing(new, updates, params), self._outside[1])
        return new if self._outside[1] is self._given else folded(new, self._given)

    def params_out(self, new: Any) -> Any:
        """The new parameters; those that do not move are the same objects."""
        if self._frozen is not None:
            new = merged(new, self._frozen)
        return self._merged(new, self._outside[0])

    def _merged(self, new: Any, old: Any) -> Any:
        if not self._stays:
            return new
        pairs = zip(self._treedef.flatten_up_to(new), self._treedef.flatten_up_to(old), strict=True)
        return self._treedef.unflatten([b if i in self._stays else a for i, (a, b) in enumerate(pairs)])

    def _elsewhere(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def called(params: Any, *args: Any, **kwargs: Any) -> Any:
            result = function(self.params_out(params), *args, **kwargs)
            return result if name == "value_fn" else self._gradients(result, params)

        return called

    def _gradients(self, grads: Any, params: Any) -> Any:
        """Gradients from outside with the holes of the parameters inside, and zeros where there is none."""
        inside, treedef = jax.tree.flatten(params, is_leaf=is_hole)
        try:
            gs = treedef.flatten_up_to(spread(grads, params))
        except ValueError:
            return grads  # whoever asked for them names the leaf that differs
        pairs = zip(gs, inside, strict=True)
        return treedef.unflatten([HOLE if is_hole(p) else g if is_asked(g) else jnp.zeros_like(p) for g, p in pairs])

    def _sort(self) -> None:
        """Tell apart, leaf by leaf, what moves, what stays and what is refused."""
        name, (params, updates) = self._definition.name, self._outside
        reference = updates if params is None else params
        leaves, self._treedef = jax.tree.flatten(reference, is_leaf=_is_whole)
        names, ps = names_of(reference, _is_whole), list(map(_array, leaves))
        gs = [_array(g) for g in self._aligned(names)]
        other = {i for i, p in enumerate(ps) if not is_floating(p)}
        holes = other | {i for i, p in enumerate(ps) if i not in other and 0 in p.shape}
        still = {i for i, g in enumerate(gs) if not is_asked(g)} - holes
        self._stays = frozenset(holes | still)
        self.unmovable = tuple((names[i], gs[i]) for i in sorted(other) if is_asked(gs[i]))
        takes, leading = self._definition.takes(), ()  # the axis in front that is one of `AXES`
        for i, (leaf, g, p) in enumerate(zip(names, gs, ps, strict=True)):
            if i not in self._stays:
                _require_fitting(name, takes, leaf, g, p)
                leading = g.shape[: len(g.shape) - len(p.shape)] or leading
        none = {i: jnp.zeros_like(ps[i], shape=(*leading, *ps[i].shape) if leading else None) for i in still}
        gs = [HOLE if i in holes else none.get(i, g) for i, g in enumerate(gs)]
        if params is not None:
            self.params = self._treedef.unflatten([HOLE if i in holes else p for i, p in enumerate(ps)])
        self.updates = self._treedef.unflatten(gs)

    def _aligned(self, names: list[str]) -> list[Any]:
        """The gradients in the order of the parameters."""
        name, updates = self._definition.name, self._outside[1]
        try:
            return self._treedef.flatten_up_to(updates)
        except ValueError:
            us = dict(named_leaves(updates, _is_whole))
            below = [[p for p in names if g is None and p.startswith(f"{leaf}/")] or [leaf] for leaf, g in us.items()]
            _require_leaves(name, [leaf for leaves in below for leaf in leaves], names)
            raise


def widened(tree: Any) -> Any:
    """The leaves in float32 or wider; where all are, the tree itself."""
    leaves, treedef = jax.tree.flatten(tree)
    if all(isinstance(x, jax.Array) and x.dtype in WIDE for x in leaves):
        return tree
    return treedef.unflatten([wide(x) if is_floating(x) else x for x in leaves])


def rounded_sum(params: Any, updates: Any) -> Any:
    """The parameters after an update; each sum is rounded once, to the parameter's dtype."""
    leaves, treedef = jax.tree.flatten(params)
    pairs = zip(leaves, treedef.flatten_up_to(updates), strict=True)
    return treedef.unflatten([p + u if p.dtype == u.dtype else (wide(p) + wide(u)).astype(p.dtype) for p, u in pairs])


def like(tree: Any, other: Any) -> Any:
    """The arrays of a tree in the dtypes of another."""
    leaves, treedef = jax.tree.flatten(tree)
    pairs = zip(leaves, jax.tree.leaves(other), strict=True)
    return treedef.unflatten([x if x.dtype == y.dtype else x.astype(y.dtype) for x, y in pairs])


def is_floating(x: Any) -> bool:
    """Whether this is an array of a real floating dtype, or the gradient of rows of one."""
    return isinstance(x, ARRAYS) and jnp.issubdtype(x.dtype, jnp.floating) or is_row_gradient(x)


def is_asked(g: Any) -> bool:
    """Whether this is a gradient, not what stands for none."""
    return hasattr(g, "dtype") and g.dtype != jax.dtypes.float0


def no_rows(name: str, leaf: str) -> ValueError:
    """The error of a transformation that does not take gradients of rows, about a leaf that is one."""
    cure = "wrap the whole transformation: oc.rows(tx, tables), with guards and accumulation outside"
    return ValueError(f"{name} takes no gradients of rows, and leaf {leaf!r} is one; {cure}")


def require_shapes(name: str, updates: Any, params: Any, called: str = "parameters") -> None:
    """Two trees have the same leaves in the same shapes, or an error names the first that differs."""
    us, ps = ({path: jnp.shape(x) for path, x in named_leaves(tree)} for tree in (updates, params))
    _require_leaves(name, us, ps, called)
    for path, shape in us.items():
        if shape != ps[path]:
            raise ValueError(f"{name}: leaf {path!r} has shape {shape} in the updates, {ps[path]} in the {called}")


def _require_leaves(name: str, us: Iterable[str], ps: Iterable[str], called: str = "parameters") -> None:
    """Two trees have leaves of the same paths, or an error names the first that one of them lacks."""
    for side, other, a, b in (("updates", called, us, ps), (called, "updates", ps, us)):
        for leaf in sorted(set(a) - set(b)):
            problem = f"the {side} have a leaf {leaf!r} that the {other} lack; {nearest(leaf, b)}"
            raise ValueError(f"{name}: {problem}") from None


def _is_plain(params: Any, updates: Any) -> bool:
    """Whether all leaves are floating arrays, and gradients have the shapes of their parameters."""
    leaves, treedef = jax.tree.flatten(updates)
    if params is None:
        return all(isinstance(x, ARRAYS) and x.dtype in PLAIN and x.size for x in leaves)
    try:
        pairs = zip(leaves, treedef.flatten_up_to(params), strict=True)
        return all(
            isinstance(g, ARRAYS) and g.dtype in PLAIN and p.dtype in PLAIN and g.shape == p.shape and g.size
            for g, p in pairs
        )
    except (ValueError, AttributeError):
        return False


def _require_fitting(name: str, takes: frozenset[str], leaf: str, g: Any, p: Any) -> None:
    """A gradient has the dtype and the shape that a definition takes."""
    if is_row_gradient(g) and "rows" not in takes:
        raise no_rows(name, leaf)
    if not is_floating(g):
        cure = "leave it out with a mask, a group or a gradient of None"
        raise ValueError(f"{name}: the gradient of leaf {leaf!r} is {g.dtype}, expected a real floating dtype; {cure}")
    if g.shape != p.shape and not (takes & AXES and g.shape[1:] == p.shape):
        problem = f"{name}: leaf {leaf!r} has shape {g.shape} in the updates, {p.shape} in the parameters"
        hint = "; gradients of single examples are for `differentially_private_aggregate`, in parts of a batch for "
        hint += "`differentially_private_accumulate`, which clips each before it adds them; gradients of single tasks "
        hint += "are for a link that combines them, such as `pcgrad`, the first one of a chain outside of this one; "
        hint += "updates of single clients are for one such as `client_mean`"
        raise ValueError(problem + (hint if g.shape[1:] == p.shape else ""))


def _is_whole(x: Any) -> bool:
    return x is None or is_row_gradient(x)


def _array(x: Any) -> Any:
    """A Python or NumPy number as an array; all else as it is."""
    return jnp.asarray(x) if isinstance(x, (float, np.generic)) else x
