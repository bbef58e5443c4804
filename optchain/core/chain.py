"""Chains: named links, one after the other; metrics and overrides by dotted name."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from optchain.core.definition import Definition, Result
from optchain.core.describe import maker
from optchain.core.door import AXES
from optchain.core.misfit import another, described
from optchain.core.numerics import global_norm, incremented
from optchain.core.paths import nearest
from optchain.core.routing import Given
from optchain.core.states import as_metrics, is_chain_state
from optchain.core.transform import Transform, Tx, definition_of, start, step, takes, transform


@dataclasses.dataclass(frozen=True)
class Chain(Definition):
    """Links applied one after the other. Updates between links are float32 or wider; the last result is cast once.

    State: `{"step": i32[], "links": {name: state}, "metrics": {name: f32[]}}`.
    """

    links: tuple[tuple[str, Tx], ...]
    watch: tuple[str, ...] = ()
    name: str = "chain"

    def children(self) -> dict[str, Any]:
        return dict(self.links)

    def takes(self) -> frozenset[str]:
        return takes(self.links[0][1]) & AXES if self.links else frozenset()

    def start(self, params: Any) -> dict[str, Any]:
        links, shown = {}, {}
        for name, tx in self.links:
            try:
                links[name] = start(tx, params)
            except (TypeError, ValueError) as error:
                self._note(error, name)
                raise
            link = definition_of(tx)
            shown |= {} if link is None else {f"{name}.{key}": value for key, value in link.metrics().items()}
        shown |= {f"{name}.out_norm": 0.0 for name in self.watch}
        return {"step": jnp.zeros((), jnp.int32), "links": links, "metrics": as_metrics(shown)}

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        self.require_state(state)
        routed = (given if given.step is not None else given.at(state["step"])).split(dict(self.links))
        links, shown = {}, {}
        for name, tx in self.links:
            try:
                updates, links[name], computed = step(tx, updates, state["links"][name], params, routed[name])
            except (TypeError, ValueError) as error:
                self._note(error, name)
                raise
            for key, value in computed.items():
                shown[f"{name}.{key}"] = value
            if name in self.watch:
                shown[f"{name}.out_norm"] = global_norm(updates)
        return updates, {"step": incremented(state["step"]), "links": links, "metrics": as_metrics(shown)}, {}

    def require_state(self, state: Any) -> None:
        if not is_chain_state(state) or state["links"].keys() != dict(self.links).keys():
            description = f"one with the links {sorted(state['links'])}" if is_chain_state(state) else described(state)
            raise another(self.name, description, f"one with the links {sorted(dict(self.links))}")

    def _note(self, error: Exception, link: str) -> None:
        """The error of a link names it."""
        error.add_note(f"in link {link!r} of {self.name}")


def chain(*links: Tx, watch: bool | str | Sequence[str] = (), **named: Tx) -> Transform:
    """Apply transformations one after the other, each a link with a name.

    Positional links come first and are named after their technique (`scale_by_adam`, then `scale_by_adam_2`). Any optax
    transformation is a link, a chain is too. `update` and `oc.apply` take `hyper`, a dict from dotted names
    (`"lr.learning_rate"`, `"inner.adam.b1"`) or patterns of them (`"*.learning_rate"`) to numbers that replace
    constants and schedules in this step. Changing values does not retrigger compilation while names and types stay.
    Within a wrapper of optax a name goes to every chain that has it (`"groups.lr.learning_rate"` for all groups of a
    partition). Where such a wrapper is outermost, give names that only some of its chains have as `oc.Partial({...})`.

    Args:
        *links: transformations to be named automatically.
        watch: links after which the global norm of the updates becomes the metric `<link>.out_norm`; True for all.
            Each norm costs one more pass over the updates.
        **named: transformations by name, in order.

    Returns:
        A transformation with the state `{"step": i32[], "links": {name: state}, "metrics": {name: f32[]}}`. Schedules
        of all links read `step`, the number of updates made before, or the extra argument `step` where one is given.

    Raises:
        ValueError: a name that is not of the form `[a-z][a-z0-9_]*`, a link that is not a transformation, an unknown
            watched link.

    >>> import optchain as oc
    >>> tx = oc.chain(clip=oc.clip_by_global_norm(1.0), lr=oc.scale_by_learning_rate(0.1))
    >>> [name for name, _ in tx.link.links]
    ['clip', 'lr']
    """
    pairs: list[tuple[str, Tx]] = []
    for tx in links:
        pairs.append((unused_name(tx, {name for name, _ in pairs} | set(named)), tx))
    pairs += named.items()
    for name, tx in pairs:
        if not re.fullmatch("[a-z][a-z0-9_]*", name):
            expected = "use lower-case letters, digits and underscores, a letter first"
            raise ValueError(f"{name!r} is not a valid link name; {expected}")
        if not (callable(getattr(tx, "init", None)) and callable(getattr(tx, "update", None))):
            raise ValueError(f"link {name!r} is {tx!r}; expected a gradient transformation with init and update")
    if isinstance(watch, Tx) or not isinstance(watch, (bool, str, list, tuple)):
        raise ValueError(f"watch takes True or names of links, got {watch!r}; no link can be called `watch`")
    names = [name for name, _ in pairs]
    watched = names if watch is True else [watch] if isinstance(watch, str) else watch or []
    for name in watched:
        if name not in dict(pairs):
            raise ValueError(f"watch: no link {name!r}; {nearest(name, dict(pairs))}")
    return transform(Chain(tuple(pairs), tuple(watched)))


def unused_name(tx: Tx, taken: set[str]) -> str:
    """The name of a transformation's technique, with a number where it is taken."""
    base, n = automatic_name(tx), 1
    name = base
    while name in taken:
        n += 1
        name = f"{base}_{n}"
    return name


def automatic_name(tx: Tx) -> str:
    """The name of a transformation's technique: that of the function that made it."""
    link = definition_of(tx)
    name = link.name if link is not None else maker(tx) if isinstance(tx, Tx) else "link"
    return name if re.fullmatch("[a-z][a-z0-9_]*", name) else "link"
