"""What optax's transformations keep, by the names of their fields, and which technique reads it into which slots.

A checkpoint has forgotten the types of named tuples, and several transformations share one: the fields identify them.
"""

from collections.abc import Mapping
from typing import Any

INITIAL = "is_initial_step"  # instead of a count: whether it is 0
Fields = Mapping[str, str]  # from slots of a technique to fields of optax

_MOMENTS = {"count": "count", "mu": "mu", "nu": "nu"}
_EMA = {"count": "count", "mu": "ema"}
_LBFGS = ("count", "params", "updates", "diff_params_memory", "diff_updates_memory", "weights_memory")
_SEARCH = ("learning_rate", "value", "grad", "info")

# For each technique the states that it continues. What none of the fields fill follows from the count.
READ: dict[str, tuple[Fields, ...]] = {
    "ema": (_EMA,),
    "scale_by_adadelta": ({"e_g": "e_g", "e_x": "e_x"},),
    "scale_by_adam": (_MOMENTS,),
    "scale_by_adamax": (_MOMENTS,),
    "scale_by_amsgrad": (_MOMENTS | {"nu_max": "nu_max"},),
    "scale_by_belief": (_MOMENTS,),
    "scale_by_factored_rms": ({"count": "count", "nu_row": "v_row", "nu_col": "v_col", "nu": "v"},),
    "scale_by_lbfgs": ({f"optax/{field}": field for field in _LBFGS},),
    "scale_by_lion": ({"count": "count", "mu": "mu"},),
    "scale_by_nadam": (_MOMENTS,),
    "scale_by_novograd": (_MOMENTS,),
    "scale_by_optimistic_gradient": ({"count": INITIAL, "last": "previous_gradient"},),
    "scale_by_radam": (_MOMENTS,),
    "scale_by_rms": ({"nu": "nu"}, {"count": "count", "nu": "nu"}),
    "scale_by_rss": ({"sum_of_squares": "sum_of_squares"},),
    "scale_by_signum": (_EMA,),
    "scale_by_stddev": ({"mu": "mu", "nu": "nu"}, _MOMENTS),
    "scale_by_yogi": (_MOMENTS,),
    "scale_by_zoom_linesearch": ({f"optax/{field}": field for field in _SEARCH},),
    "trace": ({"trace": "trace"},),
    # What wrappers keep themselves.
    "accumulate": ({"micro": "mini_step", "weight": "mini_step", "emitted": "gradient_step", "mean": "acc_grads"},),
    "guard": ({"streak": "notfinite_count", "rejected": "total_notfinite"},),
}
# Containers by a field that only they have: their name, and the field of what stands within.
CONTAINERS = {
    "mini_step": ("MultiSteps", "inner_opt_state"),
    "notfinite_count": ("apply_if_finite", "inner_state"),
    "hyperparams": ("hyperparams", "inner_state"),
    "inner_states": ("partition", "inner_states"),
    "inner_state": ("masked", "inner_state"),
}
COUNTS_APART = ("mini_step", "notfinite_count")  # those within which steps have a count of their own
SILENT = {"last_finite", "skip_state", "hyperparams_states"}  # fields that say nothing about the next step
COUNT = frozenset({"count"})  # all that a schedule keeps
INJECTED = frozenset({"count", "hyperparams"})  # what inject_hyperparams keeps
KNOWN = {frozenset(fields.values()) - SILENT for readings in READ.values() for fields in readings} | {COUNT}


def is_known(node: Any) -> bool:
    """Whether these are the fields of a state of optax, or of a container of them."""
    return isinstance(node, dict) and (frozenset(node) - SILENT in KNOWN or any(field in node for field in CONTAINERS))


def is_of_optax(technique: str, node: dict[str, Any]) -> bool:
    """Whether what stands in the place of a technique is a state of optax, with other keys than today's slots."""
    if all(key.isdigit() for key in node) or any(field in node for field in CONTAINERS):
        return True
    readings = [fields for fields in READ.get(technique, ()) if set(fields.values()) == node.keys()]
    return any(fields.keys() != node.keys() or "count" not in fields for fields in readings)
