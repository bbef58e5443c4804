"""Inside `shard_map`: techniques that look across entries look across the parts of all devices."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax
from jax.sharding import get_abstract_mesh

from optchain.core.axes import along, entry
from optchain.core.definition import Definition, Result
from optchain.core.holes import is_hole
from optchain.core.lift import technique
from optchain.core.paths import named_leaves, nearest
from optchain.core.routing import Given
from optchain.core.spread import Spread, marked, parts, spread, spreading, varying
from optchain.core.transform import Transform, advance, definition_of, moving, propose, start, step, takes, transform
from optchain.core.walk import definitions
from optchain.sharding.axes import Apart, Follows, followed
from optchain.sharding.owned import Owned
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class OverAxes(Definition):
    """A transformation whose step is traced with what is said of the mesh axes; its state is that of `inner`."""

    inner: Any
    axes: tuple[str, ...]
    specs: Mapping[str, Any]

    @property
    def name(self) -> str:  # pyright: ignore
        return self.inner.link.name

    def children(self) -> dict[str, Any]:
        return {"": self.inner}

    def moving(self, params: Any) -> Any:
        return moving(self.inner, params)

    def takes(self) -> frozenset[str]:
        return takes(self.inner) - {"rows"}  # whose numbers count the rows of the whole table

    def within(self, tree: Any) -> Any:
        return self.inner.link.within(tree)

    def metrics(self) -> dict[str, Any]:
        return self.inner.link.metrics()

    def outgoing(self, new: Any, grads: Any, params: Any) -> Any:
        return self.inner.link.outgoing(new, grads, params)

    def require_state(self, state: Any) -> None:
        self.inner.link.require_state(state)

    def start(self, params: Any) -> Any:
        here = self._here()
        if here is None:
            return start(self.inner, params)
        for path, p in named_leaves(params):
            here.split(path, p)  # a layout that does not fit is an error for an elementwise technique too
        with spreading(here):
            state = start(self.inner, params)
            return self._marked(here, state, params)

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        with spreading(self._checked(updates, params, given)):
            return step(self.inner, updates, state, params, given)

    def propose(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        with spreading(self._checked(grads, params, given)):
            return propose(self.inner, grads, state, params, given)

    def advance(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        with spreading(self._checked(grads, params, given)):
            return advance(self.inner, grads, state, params, given)

    def _here(self) -> Spread | None:
        """What is to be said while a step is traced; nothing where arrays are whole, outside of `shard_map`."""
        manual = get_abstract_mesh().manual_axes
        if not manual:
            return None
        for name in self.axes:
            if name not in manual:
                raise ValueError(f"over_axes: this shard_map is not over {name!r}; {nearest(name, map(str, manual))}")
            if not varying(jax.lax.axis_index(name)):
                problem = "shard_map was called with check_vma=False, and JAX does not say what differs between devices"
                raise ValueError(f"over_axes: {problem}; leave check_vma=True")
        around = spread()
        if around is None:
            return Spread(self.axes, self.specs)
        return Spread(tuple(dict.fromkeys((*around.axes, *self.axes))), {**self.specs, **around.specs})

    def _checked(self, grads: Any, params: Any, given: Given) -> Spread | None:
        """What is to be said, where gradients are split as their parameters, and all devices have the same scalars."""
        here = self._here()
        if here is None:
            return None
        for (path, g), p in zip(named_leaves(grads), jax.tree.leaves(params), strict=False):
            differs = sorted((varying(g) - varying(p)) & set(self.axes))
            if differs and not here.split(path, p):
                problem = f"the gradient of leaf {path!r} differs between devices along {differs}, and the parameter"
                cure = f"average gradients first, such as jax.lax.pmean(grads, {tuple(differs)})"
                raise ValueError(f"over_axes: {problem} does not; {cure}")
        for name, x in given.extra.items():
            differs = [axis for axis in self.axes if isinstance(x, jax.Array) and not x.ndim and axis in varying(x)]
            if differs:
                cure = f"give all the same one, such as jax.lax.pmean({name}, {tuple(differs)})"
                raise ValueError(f"over_axes: the scalar {name!r} differs between devices along {differs}; {cure}")
        return here

    def _marked(self, here: Spread, state: Any, params: Any) -> Any:
        """The first state, which varies over the mesh axes that it will vary over after a step, as loops need it."""
        ps = jax.tree.leaves(params, is_leaf=is_hole)
        splits = iter([here.split(path, p) for path, p in named_leaves(params)])
        entries = [None if is_hole(p) else _entries(next(splits), p) for p in ps]
        slots, treedef = jax.tree.flatten(state, is_leaf=is_hole)
        leaves = []
        for slot, follows in zip(slots, followed(self.inner, state, params), strict=True):
            follows = follows.rest if isinstance(follows, Apart) else follows
            if not is_hole(slot) and isinstance(follows, Follows):
                own = entries[follows.param] or []
                whole = tuple(n * parts(names) for n, names in zip(ps[follows.param].shape, own, strict=True))
                names = along(own, follows.axes, slot.shape, whole)
                slot = marked(slot, {i - slot.ndim: own for i, own in enumerate(names) if own})
            leaves.append(slot)
        return treedef.unflatten(leaves)


def _is_spec(x: Any) -> bool:
    return isinstance(x, jax.sharding.PartitionSpec)


def _entries(split: Any, p: Any) -> list[tuple[str, ...]]:
    return [split.get(i - p.ndim, ()) for i in range(p.ndim)]


@technique(tx=scale(-0.1), axes="x")
def over_axes(
    tx: optax.GradientTransformation, axes: str | Sequence[str], specs: Mapping[str, Any] | None = None
) -> Transform:
    r"""Lets a transformation inside `jax.shard_map` step shards as the whole arrays would be stepped.

    Inside `shard_map` each device has a shard of a parameter. Elementwise techniques are right on shards; what a
    technique computes across entries (norms, means, the largest entry, whether all are finite) would be that of the
    shard, and is an error. Here it is computed over the named mesh axes as well, so that the step on shards is the step
    on whole arrays. A leaf that is the same on all devices is counted once.

    - Sums, norms, means, maxima, and whether all is finite: a collective of one number, or of one for each row, for
      each that the technique takes; the global norm is one `psum` of a scalar.
    - Noise, random masks: a hash of the place in the whole array.
    - Matrix techniques, those that sort (`clip_by_quantile`, `keep_top_k`), views of `as_matrices`, and rules of your
      own that do not say `on_shards`: each leaf is gathered, stepped whole by all devices, and cut again, where an axis
      is split that the technique looks across. `distributed`, outside of `shard_map`, shares that work.
    - Refused by name: pruning by `sparse`, line searches, `precision` with random rounding, slots of low precision or
      `watch`, gradients of rows, `distributed`, and rules of the whole tree that do not say `on_shards`.

    The state is that of `tx`: counts, metrics and one number for a parameter are the same on all devices, and slots are
    split as the axes of the parameter that they follow. `oc.state_specs` says how, for `in_specs` and `out_specs`.
    Outside of `shard_map` this is `tx`. Transformations of optax within `tx` may be elementwise; one that looks across
    the entries of a shard is refused.

    Args:
        tx: a transformation of optchain.
        axes: the name of a mesh axis, or several, over which leaves are split. A leaf that varies over other axes is
            still an error where a technique looks across its entries.
        specs: how leaves are split, `PartitionSpec`s by patterns on paths, of which the first that matches decides, as
            in `shard_map(in_specs=...)`. Without one, a leaf that varies over these axes is split along its first axis.

    Shapes and dtypes: any, in parts of equal size.

    Raises:
        ValueError: a name that is not that of a mesh axis, or a table that is not of specs; at `init` and `update`, a
            `shard_map` over other axes or with `check_vma=False`, a spec that does not fit its leaf, a scalar extra
            argument that differs between devices, a technique that is refused.

    >>> import jax
    >>> import optchain as oc
    >>> mesh = jax.make_mesh((8,), ("x",), (jax.sharding.AxisType.Auto,))
    >>> tx = oc.over_axes(oc.chain(oc.clip_by_global_norm(1.0), oc.sgd(1.0)), "x")
    >>> update = lambda g: tx.update(g, tx.init(g))[0]
    >>> step = jax.jit(jax.shard_map(update, mesh=mesh, in_specs=jax.P("x"), out_specs=jax.P("x")))
    >>> float(jax.numpy.linalg.norm(step(jax.numpy.ones(64))).round(4))
    1.0
    """
    names = (axes,) if isinstance(axes, str) else tuple(axes) if isinstance(axes, (list, tuple)) else ()
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"over_axes: axes must be the name of a mesh axis, or several that differ; got {axes!r}")
    table = {} if specs is None else specs
    if not isinstance(table, Mapping) or not all(map(_is_spec, table.values())):
        raise ValueError(f"over_axes: specs must be PartitionSpecs by patterns on paths, got {specs!r}")
    if definition_of(tx) is None:
        raise ValueError(f"over_axes: tx must be a transformation of optchain, got {tx!r}; wrap it in oc.chain")
    for _, link in definitions(tx):
        if isinstance(link, Owned):
            raise ValueError(f"over_axes: {link.name} has owners along {link.owners}; take one of both, this or that")
    return transform(OverAxes(tx, names, dict(table)))


def state_specs(tx: optax.GradientTransformation, params: Any, specs: Any) -> Any:
    """The `PartitionSpec` of every array of `tx.init(params)`, for `shard_map`.

    A slot is split as the axes of its parameter that it follows, each mesh axis once; everything else is the same on
    all devices.

    Args:
        tx: any optax transformation, with `over_axes` or without.
        params: whole parameters, or their shapes.
        specs: the specs of the parameters: one for all, or a tree like them, as `shard_map` takes them.

    >>> import jax
    >>> import optchain as oc
    >>> params = {"w": jax.numpy.ones((64, 32))}
    >>> specs = oc.state_specs(oc.scale_by_factored_rms(min_dim_size_to_factor=2), params, jax.P("x", None))
    >>> specs["scale_by_factored_rms"]["nu_row"]["w"], specs["scale_by_factored_rms"]["nu_col"]["w"]
    (P(None,), P('x',))
    """
    ps = jax.tree.leaves(params, is_leaf=is_hole)
    tree = jax.tree.map(lambda _: specs, params, is_leaf=is_hole) if _is_spec(specs) else specs
    of_params = jax.tree.leaves(tree, is_leaf=lambda x: _is_spec(x) or is_hole(x))
    state = jax.eval_shape(tx.init, params)
    slots, treedef = jax.tree.flatten(state, is_leaf=is_hole)
    leaves = []
    for slot, follows in zip(slots, followed(tx, state, params), strict=True):
        apart = follows.over if isinstance(follows, Apart) else ()
        follows = follows.rest if isinstance(follows, Apart) else follows
        if isinstance(follows, Follows):
            names = along(of_params[follows.param], follows.axes, slot.shape, ps[follows.param].shape)
            leaves.append(jax.P(*map(entry, [apart, *names[1:]] if apart else names)))
        elif apart:
            leaves.append(jax.P(entry(apart)))
        else:
            leaves.append(slot if is_hole(slot) else jax.P())
    return treedef.unflatten(leaves)
