"""Extra arguments of a call: what each is, and the errors where one is forgotten or nobody takes it."""

import difflib
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.paths import nearest
from optchain.core.transform import ours, transform
from optchain.core.walk import definitions, walk

# Those that some technique of the library reads. A loop may give them to every optimizer; one that reads none of them
# ignores them.
KNOWN = {
    "value": "the loss at the parameters",
    "losses": "the loss of each task at the parameters",
    "client_weights": "what each client counts, such as its number of examples, 0 for one that has dropped out",
    "validation": "a validation loss, NaN until there is a new one",
    "hessian": "an estimate of the Hessian's diagonal, as of oc.hutchinson",
    "max_logits": "the largest attention logit of each head",
    "grad_fn": "the function from parameters to gradients on the same batch",
    "value_fn": "the function from parameters to the loss",
    "grad": "the gradient at the parameters",
    "stale_params": "the parameters that the gradient was computed at",
    "staleness": "how many steps were made since the gradient's parameters",
    "weight": "the weight of a micro-batch in the mean",
    "emit": "whether to step now on the micro-batches seen",
    "hyper": "numbers by their dotted names",
    "factors": "factors of numbers by dotted name and leaf",
    "step": "the step that schedules read",
}
MEANT = {"loss": "value", "loss_fn": "value_fn", "val_loss": "validation", "validation_loss": "validation"}
LIKE = 0.75  # how near to a known name another one is that is meant for it


def forgotten(owner: str, name: str, given: Iterable[str]) -> ValueError:
    """The error of a technique about an extra argument that it needs and did not receive."""
    what = f", {KNOWN[name]}" if name in KNOWN else ""
    call = f"call update(grads, state, params, {name}=...), with {name}=None in a step that has none"
    unknown = sorted(set(given) - KNOWN.keys())
    got = f"; the call gives {', '.join(unknown)}" if unknown else ""
    return ValueError(f"{owner} needs the extra argument `{name}`{what}: {call}{got}")


def require_taken(definition: Any, given: Iterable[str]) -> None:
    """Somebody takes each extra argument, or an error names the nearest that is taken.

    Only `oc.apply` asks, which comes from the user: within a wrapper of optax's another transformation may take what
    this one does not know. So it may where a transformation of optax stands within this one.
    """
    unknown = set(given) - KNOWN.keys()
    if not unknown:
        return
    tx = transform(definition)
    if not all(ours(inner) for _, inner in walk(tx)):
        return
    taken = {name for _, link in definitions(tx) for name in link.reads}
    for name in sorted(unknown - taken):
        meant = MEANT.get(name) or next(iter(difflib.get_close_matches(name, [*taken, *KNOWN], 1, LIKE)), None)
        near = f"did you mean {meant!r}?" if meant else nearest(name, taken) if taken else "it reads none"
        raise ValueError(f"{definition.name} takes no extra argument {name!r}; {near}")


def is_number(x: Any) -> bool:
    """Whether an extra argument is one number for all leaves, of Python, NumPy or JAX."""
    return isinstance(x, (int, float, jax.Array, np.ndarray, np.generic)) and jnp.ndim(x) == 0
