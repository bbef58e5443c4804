"""Of what the compiler's counts are recorded, beside the exports."""

from typing import Any

import jax
from compiler_counts import Counts, counts

import optchain as oc
from recorded.compositions import cautious_adamw, clipped_adamw
from recorded.inputs import EXTRAS, extra_arguments

PARAMS = {"dense": {"kernel": jax.ShapeDtypeStruct((512, 512), "float32")}}


def compositions() -> dict[str, Any]:
    """Clipped AdamW, and wrappers around it."""
    tx = clipped_adamw()
    return {
        "clipped adamw": tx,
        "guarded clipped adamw": oc.guard(tx),
        "accumulated clipped adamw": oc.accumulate(tx, 4),
        "lookahead of clipped adamw": oc.lookahead(tx, 5, 0.5),
        "cautious within clipped adamw": cautious_adamw(),
    }


def counts_of(name: str, tx: Any) -> Counts:
    """The counts of an export or a composition on one matrix."""
    return counts(tx, PARAMS, lambda grads, params: extra_arguments(EXTRAS.get(name, ()), 0, grads, params))
