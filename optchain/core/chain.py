"""Chains: named links, one step, metrics and overrides by dotted name."""

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.describe import table
from optchain.core.metrics import has_links, names_within
from optchain.core.numerics import global_norm
from optchain.core.paths import nearest
from optchain.core.row_gradient import require_taken
from optchain.core.runner import Result, like
from optchain.core.transform import Transform, add_update, names, ours, step, transform, widened

Tx = optax.GradientTransformation


@dataclasses.dataclass(frozen=True)
class Chain:
    """Links applied one after the other. Updates between links are float32 or wider; the last result is cast once.

    State: `{"step": i32[], "links": {name: state}, "metrics": {name: f32[]}}`.
    """

    links: tuple[tuple[str, Tx], ...]
    watch: tuple[str, ...] = ()
    name: str = "chain"

    def __str__(self) -> str:
        return table(self)

    def names(self) -> list[str]:
        """The dotted names that `hyper` may override."""
        return [f"{name}.{number}" for name, tx in self.links for number in names(tx)]

    def init(self, params: Any) -> dict[str, Any]:
        links = {}
        for name, tx in self.links:
            with self._noting(name):
                links[name] = tx.init(widened(params))
        return {"step": jnp.zeros((), jnp.int32), "links": links, "metrics": self.metrics()}

    def metrics(self) -> dict[str, jax.Array]:
        """This chain's own metrics before the first update; a nested chain keeps its own in its state."""
        found = {}
        for name, tx in self.links:
            if ours(tx) and not isinstance(tx.link, Chain):  # pyright: ignore
                found |= {f"{name}.{key}": value for key, value in tx.link.metrics().items()}  # pyright: ignore
        return found | {f"{name}.out_norm": jnp.zeros((), jnp.float32) for name in self.watch}

    def update(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        new, state, _ = self.step(updates, state, params, extra)
        return like(new, updates), state

    def apply(self, grads: Any, state: Any, params: Any, **extra: Any) -> tuple[Any, Any]:
        """One step that rounds to the parameters' dtype once."""
        updates, state, _ = self.step(grads, state, params, extra)
        return jax.tree.map(add_update, params, updates), state

    def step(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> Result:
        """One update that stays in float32 or wider; the metrics stay in the state."""
        if not has_links(state) or set(state["links"]) != set(dict(self.links)):
            found = sorted(state["links"]) if has_links(state) else type(state).__name__
            wanted = f"a state with the links {sorted(dict(self.links))}: call update(grads, state, params)"
            raise ValueError(f"{self.name}: the state is {found}, wanted {wanted}")
        require_taken(self, updates)
        routed = self._route(extra.get("hyper") or {}, state["links"])
        extra = {"step": state["step"]} | {key: value for key, value in extra.items() if key != "hyper"}
        updates, params, links, metrics = widened(updates), widened(params), {}, {}
        for name, tx in self.links:
            own = extra | ({"hyper": routed[name]} if name in routed else {})
            with self._noting(name):
                updates, links[name], found = step(tx, updates, state["links"][name], params, own)
            metrics |= {f"{name}.{key}": value for key, value in found.items()}
            if name in self.watch:
                metrics[f"{name}.out_norm"] = global_norm(updates)
        return updates, {"step": optax.safe_increment(state["step"]), "links": links, "metrics": metrics}, {}

    def _route(self, hyper: dict[str, Any], states: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The overrides of each link. One marked `?` may belong elsewhere, as all that go through optax's wrappers."""
        foreign = {f"{name}.{x}" for name, tx in self.links if not ours(tx) for x in names_within(states[name])}
        valid, routed = {*self.names(), *foreign}, {}
        for name, value in hyper.items():
            dotted = name.removeprefix("?")
            link, _, rest = dotted.partition(".")
            if dotted in valid:
                routed.setdefault(link, {})[f"?{rest}" if name != dotted or dotted in foreign else rest] = value
            elif name == dotted:
                raise ValueError(f"{self.name} has no number {name!r} to override; {nearest(name, valid)}")
        return routed

    @contextlib.contextmanager
    def _noting(self, link: str) -> Iterator[None]:
        """Errors of a link name it."""
        try:
            yield
        except (TypeError, ValueError) as error:
            error.add_note(f"in link {link!r} of {self.name}")
            raise


def chain(*links: Tx, watch: bool | str | Sequence[str] = (), **named: Tx) -> Transform:
    """Apply transformations one after the other, each a link with a name.

    Positional links come first and are named after their technique (`scale_by_adam`, then `scale_by_adam_2`). Any optax
    transformation is a link, a chain is too. `update` and `oc.apply` take `hyper`, a dict from dotted names
    (`"lr.learning_rate"`, `"inner.adam.b1"`) to numbers that replace constants and schedules in this step. With the
    same names and types, other values are no new trace. Within a wrapper of optax's a name goes to every chain that has
    it (`"groups.lr.learning_rate"` for all groups of a partition). Where such a wrapper is outermost, mark a name that
    only some of its chains have with a question mark: `"?adam.b1"`.

    Args:
        *links: transformations to be named automatically.
        watch: links after which the global norm of the updates becomes the metric `<link>.out_norm`; True for all.
            Each norm costs one more pass over the updates.
        **named: transformations by name, in order.

    Returns:
        A transformation with the state `{"step": i32[], "links": {name: state}, "metrics": {name: f32[]}}`. Schedules
        of all links read `step`, the number of updates made before, or the extra argument `step` where one is given.

    Raises:
        ValueError: a name that is no `[a-z][a-z0-9_]*`, something that is no transformation, an unknown watched link.

    >>> import optchain as oc
    >>> tx = oc.chain(clip=oc.clip_by_global_norm(1.0), lr=oc.scale_by_learning_rate(0.1))
    >>> [name for name, _ in tx.link.links]
    ['clip', 'lr']
    """
    pairs: list[tuple[str, Tx]] = []
    for tx in links:
        base, taken = automatic_name(tx), {name for name, _ in pairs} | set(named)
        numbered = (base if n == 1 else f"{base}_{n}" for n in range(1, len(links) + len(named) + 2))
        pairs.append((next(name for name in numbered if name not in taken), tx))
    pairs += named.items()
    for name, tx in pairs:
        if not re.fullmatch("[a-z][a-z0-9_]*", name):
            raise ValueError(f"link name {name!r}: wanted lower case letters, digits and underscores, a letter first")
        if not (callable(getattr(tx, "init", None)) and callable(getattr(tx, "update", None))):
            raise ValueError(f"link {name!r} is {tx!r}; wanted a gradient transformation with init and update")
    if isinstance(watch, Tx) or not isinstance(watch, (bool, str, list, tuple)):
        raise ValueError(f"watch takes True or names of links, got {watch!r}; no link can be called `watch`")
    names = [name for name, _ in pairs]
    watched = names if watch is True else [watch] if isinstance(watch, str) else watch or []
    for name in watched:
        if name not in dict(pairs):
            raise ValueError(f"watch: no link {name!r}; {nearest(name, dict(pairs))}")
    return transform(Chain(tuple(pairs), tuple(watched)))


def automatic_name(tx: Tx) -> str:
    """The name of a transformation's technique: that of the function that made it."""
    maker = tx.link.name if ours(tx) else getattr(getattr(tx, "update", None), "__qualname__", "link").split(".")[0]  # pyright: ignore
    return maker if re.fullmatch("[a-z][a-z0-9_]*", maker) else "link"
