"""What every runner does for its rule: count, evaluate schedules and overrides, mask, and decide dtypes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.describe import table
from optchain.core.mask import Mask, select
from optchain.core.numerics import wide
from optchain.core.paths import nearest, path_of
from optchain.core.row_gradient import is_row_gradient, require_taken
from optchain.core.rule import checked, numbers, ranges, resolve

Result = tuple[Any, dict[str, Any], dict[str, jax.Array]]  # updates, slots or state, metrics
Factors = dict[str, dict[str, Any]]  # by a number's name and a leaf's path; 1 for a leaf that is not there


@dataclasses.dataclass(frozen=True)
class Told:
    """What a rule is told besides updates, slots and parameters: extra arguments, and the factors of its numbers."""

    trees: dict[str, Any]
    scalars: dict[str, Any]
    factors: Factors
    wants_path: bool
    slept: dict[str, jax.Array]  # by a leaf's path, for each of its rows the updates that it has slept through

    def factors_of(self, leaf: str) -> dict[str, Any]:
        """The factors of one leaf by the names of the numbers."""
        return {name: by_path[leaf] for name, by_path in self.factors.items() if leaf in by_path}

    def multiplied(self, rule: Any, leaf: str) -> Any:
        """The rule for one leaf, whose numbers are multiplied by the leaf's own factors."""
        own = self.factors_of(leaf)
        return dataclasses.replace(rule, **{name: getattr(rule, name) * factor for name, factor in own.items()})

    def others(self, leaf: str) -> dict[str, Any]:
        """The extra arguments that are no trees, the leaf's path among them."""
        return self.scalars | ({"path": leaf} if self.wants_path else {})


@dataclasses.dataclass(frozen=True)
class Runner:
    """A rule run over a tree; subclasses say how the slots are made (`start`) and how the updates (`run`).

    State: `{"count": i32[], slot: tree like the parameters, ...}`. Leaves outside `mask` pass unchanged, without slots.
    """

    rule: Any
    name: str
    mask: Mask | None = None

    def start(self, rule: Any, params: Any) -> dict[str, Any]:
        """The slots by name, for parameters in float32 or wider."""
        raise NotImplementedError

    def run(self, rule: Any, updates: Any, slots: Any, params: Any, t: jax.Array, told: Told) -> Result:
        """The updates, the new slots, and the metrics that the rule computes anyway."""
        raise NotImplementedError

    def __str__(self) -> str:
        return table(self)

    def names(self) -> list[str]:
        """The numbers that `hyper` may override."""
        return list(numbers(self.rule))

    def metrics(self) -> dict[str, jax.Array]:
        """The metrics before the first update."""
        computed = dict.fromkeys(getattr(self.rule, "metrics", ()), 0.0)
        return as_metrics(resolve(self.rule, jnp.zeros((), jnp.int32), {}) | computed)

    def init(self, params: Any) -> dict[str, Any]:
        rule = dataclasses.replace(self.rule, **resolve(self.rule, jnp.zeros((), jnp.int32), {}))
        return {"count": jnp.zeros((), jnp.int32)} | self.start(rule, self._widened(prune(self.mask, params)))

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        new, state, _ = self.step(updates, state, params, extra)
        return like(new, updates), state

    def step(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> Result:
        """One update that stays in float32 or wider, the new state, and the metrics."""
        require_taken(self, updates)
        if params is not None:
            require_aligned(self.name, updates, params)
        elif self.rule.needs_params:
            raise ValueError(f"{self.name} reads the parameters: call update(grads, state, params)")
        values = resolve(self.rule, extra.get("step", state["count"]), self._overrides(extra.get("hyper") or {}))
        count = jnp.asarray(optax.safe_increment(state["count"]))
        new, slots, computed = self.run(
            dataclasses.replace(self.rule, **values),
            self._widened(prune(self.mask, updates)),
            {name: slot for name, slot in state.items() if name != "count"},
            None if params is None else self._widened(prune(self.mask, params)),
            count.astype(jnp.float32),
            self._told(updates, extra, values),
        )
        kept = jax.tree.map(lambda u, g: g if left_out(u) else u, new, updates, is_leaf=left_out)
        return kept, {"count": count} | slots, as_metrics(values | computed)

    def _told(self, updates: Any, extra: dict[str, Any], values: dict[str, Any]) -> Told:
        """The extra arguments that the rule asks for, and the factors of its numbers."""
        trees, scalars = {}, {}
        for name in self.rule.extras:
            x = extra.get(name)
            if name == "path":
                continue
            if x is None or (hasattr(x, "ndim") and x.ndim == 0) or isinstance(x, (int, float)):
                scalars[name] = None if x is None else wide(jnp.asarray(x))
            else:
                require_aligned(self.name, updates, x, f"values of {name}")
                trees[name] = self._widened(prune(self.mask, x))
        factors = {name: by_path for name, by_path in extra.get("factors", {}).items() if name in values}
        return Told(trees, scalars, factors, "path" in self.rule.extras, extra.get("slept", {}))

    def _overrides(self, hyper: dict[str, Any]) -> dict[str, Any]:
        allowed, found = ranges(type(self.rule)), {}
        for name, value in hyper.items():
            number = name.removeprefix("?")
            if number in allowed:
                found[number] = checked(self.name, number, value, allowed[number])
            elif number == name:
                raise ValueError(f"{self.name} has no number {name!r} to override; {nearest(name, allowed)}")
        return found

    def _widened(self, tree: Any) -> Any:
        def leaf(path: Any, x: Any) -> jax.Array:
            dtype = getattr(x, "dtype", None) or jnp.asarray(x).dtype
            if not jnp.issubdtype(dtype, jnp.floating):
                found = "float0" if dtype == jax.dtypes.float0 else dtype
                wanted = "wanted a real floating dtype; leave it out with a mask"
                raise ValueError(f"{self.name}: leaf {path_of(path)!r} is {found}; {wanted}")
            return wide(x)

        return jax.tree.map_with_path(leaf, tree)


def left_out(x: Any) -> bool:
    """Whether this is what stands in a tree for a leaf that a mask leaves out."""
    return isinstance(x, optax.MaskedNode)


def prune(mask: Mask | None, tree: Any) -> Any:
    """The tree without the leaves outside the mask."""
    if mask is None:
        return tree
    leaves, treedef = jax.tree.flatten(tree)
    chosen = zip(leaves, select(mask, tree), strict=True)
    return treedef.unflatten([x if inside else optax.MaskedNode() for x, inside in chosen])


def like(updates: Any, grads: Any) -> Any:
    """The updates in the dtypes of the gradients."""
    return jax.tree.map(lambda u, g: jnp.asarray(u, jnp.asarray(g).dtype), updates, grads)


def as_metrics(values: dict[str, Any]) -> dict[str, jax.Array]:
    """Numbers as float32 arrays of fixed type; copies, for a donated state must not take the user's own array along."""
    return {name: jnp.array(value, jnp.float32) for name, value in values.items()}


def require_aligned(name: str, updates: Any, params: Any, called: str = "parameters") -> None:
    """Updates and parameters have the same leaves and shapes, or an error names the first that differs."""
    us, ps = (
        {path_of(path): x.shape if is_row_gradient(x) else jnp.shape(x) for path, x in leaves}
        for leaves in (jax.tree.leaves_with_path(tree, is_leaf=is_row_gradient) for tree in (updates, params))
    )
    for one, other, a, b in (("updates", called, us, ps), (called, "updates", ps, us)):
        for path, shape in a.items():
            if path not in b:
                raise ValueError(f"{name}: the {one} have a leaf {path!r} that the {other} lack; {nearest(path, b)}")
            if shape != b[path]:
                raise ValueError(f"{name}: leaf {path!r} has shape {shape} in the {one}, {b[path]} in the {other}")
