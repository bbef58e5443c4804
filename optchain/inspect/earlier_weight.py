"""The weights that the means of a link have seen, where its state does not keep them."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.numbers import at, means
from optchain.core.runner import Runner
from optchain.core.seen import log_decay
from optchain.core.walk import definitions
from optchain.inspect.entries import Entry


def with_weights(old: Entry, new: Entry, tx: Any, leaves: list[tuple[Any, Any]]) -> Entry:
    """An entry with the weights that its means have seen, which neither version 0.1 nor optax keeps, from its count.

    A constant decay was the same in all steps. A scheduled one had, in the last of as many steps as the link counts,
    the values that lead up to the clock it reads; what `hyper` had in its place is not known. Version 0.1 took the
    present value of a schedule for all steps before, so that the step that follows is another one than it would have
    made.

    Args:
        old: the entry with its arrays.
        new: the entry that continues it, with the numbers of the leaves.
        tx: the transformation that continues it.
        leaves: the leaves of the fresh state with their paths.
    """
    links = {prefix: link for prefix, link in definitions(tx) if isinstance(link, Runner)}
    # What stands within a container of optax cannot be looked into.
    if ("count",) not in old.slots or new.name not in links:
        return old
    link, count = links[new.name], int(old.slots[("count",)])
    weights = _weights(link.name, link.rule, count, count if old.clock is None else int(old.clock))
    missing = {keys[:1] for keys in new.slots} - {keys[:1] for keys in old.slots}
    if not missing <= {keys[:1] for keys in weights}:
        return old  # another technique
    slots = {
        keys: jnp.full(leaves[i][1].shape, value, leaves[i][1].dtype)
        for keys, i in new.slots.items()
        if keys[:1] in missing and (value := weights.get(keys[:3] if keys[0] == "seen" else keys[:1])) is not None
    }
    return dataclasses.replace(old, slots=old.slots | slots)


def _weights(technique: str, rule: Any, count: int, clock: int) -> dict[tuple[str, ...], float]:
    """The weights in the state of a link, or of each leaf in it, after so many steps, by their keys."""
    weights = {}
    for name in means(type(rule)):
        weights |= {("seen", name, "log"): _log(getattr(rule, name), count, clock), ("seen", name, "lost"): 0.0}
    if technique == "scale_by_acprop":
        weights[("weight",)] = -math.expm1(weights["seen", "b2", "log"])
    elif technique == "scale_by_nadam":
        weights[("weight",)] = -math.expm1(_log(rule.b1, count, clock))
    elif technique in ("scale_by_soap", "scale_by_kl_soap"):
        # The means leave out the first gradient, whose weight decays from the second step on.
        for slot, name in (("mu_missed", "b1"), ("nu_missed", "b2")):
            later = _log(getattr(rule, name), max(count - 1, 0), clock)
            first = math.exp(weights["seen", name, "log"] - later)
            weights[(slot,)] = (1 - first) * math.exp(later)
    elif technique == "average_params" and rule.debias:
        samples = max(count - math.floor(at(rule.start, clock)), 0)
        weights |= {("log",): _log(rule.decay, samples, clock), ("lost",): 0.0}
    return weights


def _log(decay: Any, count: int, clock: int) -> float:
    """The logarithm of the product of a decay's values in as many steps, of which the next is that at `clock`."""
    if not callable(decay):
        return count * float(log_decay(decay))
    steps = jnp.maximum(jnp.arange(clock - count, clock), 0)
    return float(np.sum(np.asarray(jax.vmap(lambda step: log_decay(jnp.asarray(decay(step))))(steps), np.float64)))
