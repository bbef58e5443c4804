"""Clips: after what they should come before, and such as never act."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.transform import forwarding
from optchain.inspect.lints import roles
from optchain.inspect.lints.finding import Finding, shortened
from optchain.inspect.lints.links import Link
from optchain.inspect.lints.measure import attempt
from optchain.inspect.lints.subject import Subject

HUGE = 1e4  # standard deviation of gradients that every clip acts on


def late(subject: Subject) -> Iterator[Finding]:
    """A clip of gradients that comes after the moments or after the rate."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for path, line in subject.lines.items():
        for i, link in enumerate(line):
            if not roles.is_gradient_clip(link.technique):
                continue
            rate = next((x for x in line[:i] if subject.is_rate(x, path)), None)
            moments = next((x for x in line[:i] if subject.is_adaptive(x, path)), None)
            if rate is not None:
                found.setdefault(("clip-after-rate", rate.where, link.where), []).append(path)
            elif moments is not None:
                found.setdefault(("clip-after-moments", moments.where, link.where), []).append(path)
    for (check, earlier, clip), paths in found.items():
        what = "steps that the rate has shortened" if check == "clip-after-rate" else "updates of a size of about 1"
        says = f"it bounds {what}, while gradients that explode are in the state of what stands before it"
        cure = f"put {clip} before {earlier}, as the first link; clip_by_block_rms is for updates"
        yield Finding(check, "warning", (clip, earlier), f"{says} ({shortened(paths)})", cure)


def idle(subject: Subject) -> Iterator[Finding]:
    """A clip right after another one that leaves it nothing to do."""
    for first, second in zip(subject.links, subject.links[1:], strict=False):
        both = all(roles.is_gradient_clip(link.technique) for link in (first, second))
        if both and set(first.paths) >= set(second.paths) and attempt(lambda a=first, b=second: _is_idle(a, b)):
            says = f"what {first.where} lets through is within its bound for gradients of any size: it never acts"
            yield Finding("idle-clip", "warning", (second.where,), says, "leave it out, or give it a smaller bound")


def _is_idle(first: Link, second: Link) -> bool:
    """Whether the second of two clips leaves all that comes of the first one, but clips what it has not."""
    acts = False
    for grads in _kinds(first.params):
        once, twice, alone = _clipped(first, grads), None, _clipped(second, grads)
        twice = _clipped(second, once)
        if not all(np.allclose(a, b, rtol=1e-5) for a, b in _pairs(once, twice)):
            return False
        acts = acts or not all(np.allclose(a, b, rtol=1e-5) for a, b in _pairs(alone, grads))
    return acts


def _kinds(params: Any) -> Iterator[Any]:
    """Gradients that are large everywhere, in one entry of each parameter, and in one entry of one."""
    leaves, treedef = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    yield treedef.unflatten([jnp.asarray(rng.standard_normal(x.shape, np.float32) * HUGE) for x in leaves])
    spikes = [jnp.zeros(x.shape).ravel().at[0].set(HUGE).reshape(x.shape) for x in leaves]
    yield treedef.unflatten(spikes)
    for i in range(len(leaves)):
        yield treedef.unflatten([x if k == i else jnp.zeros_like(x) for k, x in enumerate(spikes)])


def _clipped(link: Link, grads: Any) -> Any:
    params = jax.tree.map(lambda x: jnp.full(x.shape, 0.05), grads)
    return forwarding(link.tx).update(grads, link.tx.init(params), params)[0]


def _pairs(a: Any, b: Any) -> Any:
    return zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
