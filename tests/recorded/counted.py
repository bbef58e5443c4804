"""Of what the compiler's counts are recorded."""

import dataclasses

import jax
from compiler_counts import Counts, counts
from techniques import TECHNIQUES, build

import optchain as oc
from recorded.compositions import cautious_adamw, clipped_adamw
from recorded.inputs import extra_arguments
from recorded.runs import Case, export

PARAMS = {"dense": {"kernel": jax.ShapeDtypeStruct((512, 512), "float32")}}


def cases() -> dict[str, Case]:
    """Every export by itself, clipped AdamW, and wrappers around it."""
    tx = clipped_adamw()
    return {name: dataclasses.replace(export(name), tx=build(name)) for name in TECHNIQUES} | {
        "clipped adamw": Case(tx),
        "guarded clipped adamw": Case(oc.guard(tx)),
        "accumulated clipped adamw": Case(oc.accumulate(tx, 4)),
        "lookahead of clipped adamw": Case(oc.lookahead(tx, 5, 0.5)),
        "cautious within clipped adamw": Case(cautious_adamw()),
    }


def counts_of(case: Case) -> Counts:
    """The counts of one step on one matrix."""

    def extra(grads, params):
        return extra_arguments(case.extras, 0, grads, params) | case.more(0, grads, params)

    return counts(case.tx, PARAMS, extra)
