"""What a transformation does: its links one by one, and whole steps, on arrays that are drawn."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optchain.control.accumulate import Accumulate
from optchain.core.door import AXES, widened
from optchain.core.holes import HOLE
from optchain.core.paths import named_leaves
from optchain.core.transform import apply, definition_of, forwarding, takes
from optchain.core.walk import dotted, rewritten
from optchain.inspect.lints.links import Link
from optchain.inspect.lints.measure import LARGE, SMALL, Moved, attempt, drawn, extras, gradients, moved
from optchain.inspect.lints.structure import Structure

STEPS = 4  # of each trial
PATIENCE = 64  # steps until something moves: as many micro-batches may make one
SIZES = (1.0, 0.6, 1.3, 0.9)  # of the gradients of a trial, one after another
QUICKLY = {"xla_backend_optimization_level": 0}  # what is compiled runs a few times

Runs = Mapping[str, tuple[Moved, ...]]  # by parameter, what each step did


@dataclasses.dataclass(frozen=True, eq=False)
class Trials(Structure):
    """What is made of small gradients, of large ones, of small ones mirrored, and of none. All is tried once."""

    @functools.cached_property
    def alone(self) -> dict[str, dict[str, tuple[Moved, Moved, Moved]]]:
        """What each link makes of small gradients, of large ones and of none, by its name and by parameter."""
        own = self.own

        def tried(params: Any, grads: Any) -> dict[str, Any]:
            found = {}
            for link in self.links:
                made = self._alone(link, params, grads)
                found |= {} if made is None else {link.where: made}
            return found

        tried = jax.jit(tried, compiler_options=QUICKLY)
        runs: list[dict[str, dict[str, Moved]]] = []
        for size in (SMALL, LARGE, 0.0):
            grads = gradients(own, size)
            made = attempt(lambda grads=grads: tried(own, grads))
            if made is None:
                return {}
            runs.append({name: moved(updates, grads, own) for name, updates in made.items()})
        small, large, none = runs
        return {
            name: {path: (small[name][path], large[name][path], none[name][path]) for path in paths_in_all(name, runs)}
            for name in small
        }

    def _alone(self, link: Link, params: Any, grads: Any) -> Any:
        ps, gs = (_inside(tree, link.params) for tree in (params, grads))
        hyper = {number: peak for (where, number), peak in self.peaks.items() if where == link.where}
        own = {**self.extra, **({"hyper": hyper} if hyper and link.definition is not None else {})}

        def update(extra: Mapping[str, Any]) -> Any:
            return forwarding(link.tx).update(gs, link.tx.init(ps), ps, **extra)[0]

        made = attempt(lambda: update({**extras(gs), **own}))
        return attempt(lambda: update(own)) if made is None else made

    @functools.cached_property
    def small(self) -> Runs:
        """Steps with small gradients."""
        return self._run(SMALL)

    @functools.cached_property
    def mirrored(self) -> Runs:
        """Steps with these gradients from the other side: what does not depend on their sign is the same."""
        return self._run(-SMALL)

    @functools.cached_property
    def large(self) -> Runs:
        """Steps with large gradients."""
        return self._run(LARGE)

    @functools.cached_property
    def still(self) -> Runs:
        """Steps without gradients."""
        return self._run(0.0)

    @functools.cached_property
    def at_peak(self) -> Any:
        """The transformation as it steps at every call, and the overrides that put all rates at their peaks."""
        tx = rewritten(self.tx, _at_every_call)
        prefixes = {link.where: link.prefix for link in self.everything if link.definition is not None}
        peaks = self.peaks.items()
        hyper = {dotted(prefixes[where], number): x for (where, number), x in peaks if where in prefixes}
        return tx, hyper

    @functools.cached_property
    def own(self) -> Any:
        """The parameters that are stepped, in float32 or wider: what rounding does is another question."""
        return widened(drawn(self.params, 0))

    @functools.cached_property
    def first(self) -> Any:
        """The state before the first step."""
        return self.at_peak[0].init(self.own)

    @functools.cached_property
    def problem(self) -> str | None:
        """Why a step could not be tried; None if it could."""
        if self.small:
            return None
        try:
            self._stepped(SMALL)
        except Exception as error:  # noqa: BLE001, of any transformation
            return f"{type(error).__name__}: {error}"
        return None

    @functools.cached_property
    def _step(self) -> Any:
        """The compiled step: with the extra arguments that are made up if it takes them, on gradients of examples,
        tasks or clients if it takes no others."""
        hyper = {"hyper": self.at_peak[1]} if self.at_peak[1] else {}
        own = {**hyper, **self.extra}
        several = definition_of(self.tx) is not None and bool(takes(self.tx) & AXES)
        steps = [
            self._compiled(own, 0),
            *([self._compiled(own, 2)] if several else []),
            self._compiled(own, 0, made_up=False),
        ]
        args = self.own, self.first, gradients(self.own, SMALL), np.float32(1)
        fits = (step for step in steps if attempt(lambda step=step: jax.eval_shape(step, *args)) is not None)
        return next(fits, steps[-1])

    def _compiled(self, extra: Mapping[str, Any], axis: int, made_up: bool = True) -> Any:
        tx = self.at_peak[0]

        def step(params: Any, state: Any, grads: Any, size: Any) -> Any:
            grads = jax.tree.map(lambda g: g * size.astype(g.dtype), grads)
            given = jax.tree.map(lambda g: jnp.broadcast_to(g, (axis, *g.shape)), grads) if axis else grads
            told = {**extras(grads), **extra} if made_up else extra
            updates, state = forwarding(tx).update(given, state, params, **told)
            return optax.apply_updates(params, updates), state, updates, grads

        return jax.jit(step, compiler_options=QUICKLY)

    def _run(self, spread: float) -> Runs:
        return attempt(lambda: self._stepped(spread)) or {}

    def _stepped(self, spread: float) -> Runs:
        params, grads = self.own, gradients(self.own, spread)
        state, rows = self.first, []
        for i in range(PATIENCE):
            before, size = params, np.float32(SIZES[i % len(SIZES)])
            params, state, updates, given = self._step(params, state, grads, size)
            rows.append(moved(updates, given, before))
            first = next((k for k, row in enumerate(rows) if any(x.top for x in row.values())), None)
            if len(rows) >= (PATIENCE if first is None else STEPS + first) or (not spread and len(rows) == STEPS):
                break
        paths = [path for path in rows[0] if all(path in row for row in rows)]
        return {path: tuple(row[path] for row in rows) for path in paths}

    def moves_at(self, step: int) -> bool:
        """Whether anything moves in a step of what counts by itself, at a count."""
        state = optax.tree.set(self.first, count=jnp.asarray(step, jnp.int32))
        grads = gradients(self.own, SMALL)
        _, _, updates, given = self._step(self.own, state, grads, np.float32(1))
        return any(x.top for x in moved(updates, given, self.own).values())

    def applied(self) -> dict[str, float]:
        """For each parameter in few bits, the share of entries that `apply` leaves as they are."""
        tx, hyper = self.at_peak
        params = drawn(self.params, 0)
        grads = gradients(params, SMALL)
        extra = {**extras(grads), **({"hyper": hyper} if hyper else {}), **self.extra}
        step = jax.jit(lambda ps, state: apply(tx, grads, state, ps, **extra), compiler_options=QUICKLY)
        new, _ = step(params, tx.init(params))
        pairs = zip(named_leaves(new), named_leaves(params), strict=True)
        return {path: float(jnp.mean(a == b)) for (path, a), (_, b) in pairs if path in self.narrow}


def paths_in_all(name: str, runs: Iterable[Any]) -> list[str]:
    """The parameters that a link moved in all trials."""
    runs = list(runs)
    return [path for path in runs[0][name] if all(path in run.get(name, {}) for run in runs)]


def _at_every_call(definition: Any) -> Any:
    return dataclasses.replace(definition, every=1.0) if isinstance(definition, Accumulate) else definition


def _inside(tree: Any, pattern: Any) -> Any:
    """The leaves that reach a link, in float32 or wider, with holes for all others."""
    inside = {path for path, _ in named_leaves(pattern)}
    leaves, treedef = jax.tree.flatten(widened(tree))
    pairs = zip(named_leaves(tree), leaves, strict=True)
    return treedef.unflatten([x if path in inside else HOLE for (path, _), x in pairs])
