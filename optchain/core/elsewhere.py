"""Arguments of optax's functions that those of the same name here do not have: where the same is had instead.

Each text ends an error, `adamw has no argument 'mu_dtype'; store the slots narrower by ...`.
"""

import inspect
from collections.abc import Mapping

import optax

NARROW = 'store the slots narrower by oc.precision(tx, slots="bfloat16")'
MASK = "it is called `mask` here"
TX = "it is called `tx` here"
SEED = "it is called `key` here"
VIEWS = "say which axes are rows and columns by oc.as_matrices(tx, views)"
OPTAX = "only optax.contrib has it, whose function is a link too"
RESTART = "restart the link there by oc.reset_state(state, tx, params, links=...): its decay begins at 0 again"
CURVATURE = "estimate the curvature when you choose to, as by oc.hutchinson, and give it as `hessian`"
WITHIN = "the second gradient is taken within the same step, by the extra argument `grad_fn`"

EVERYWHERE: Mapping[str, str] = {
    "mu_dtype": NARROW,
    "accumulator_dtype": NARROW,
    "dtype_momentum": NARROW,
    "state_dtype": NARROW,
    "weight_decay_mask": MASK,
    "betas": "give the two as `b1` and `b2`",
    "base_optimizer": TX,
    "fast_optimizer": TX,
    "optimizer": TX,
    "weight_dimension_numbers": VIEWS,
    "muon_weight_dimension_numbers": VIEWS,
}
OF: Mapping[str, Mapping[str, str]] = {
    "adafactor": {"decay_offset": RESTART},
    "add_noise": {"seed": SEED},
    "differentially_private_aggregate": {"seed": SEED},
    "dog": {"init_step": 'give the number of ("heuristic", number) as `reps_rel`'},
    "lars": {"trust_ratio_mask": "one `mask` chooses the leaves that are decayed and scaled"},
    "muon": {
        "adam_weight_decay": "`weight_decay` is that of all parameters; set it apart by oc.groups(tx, rules)",
        "weight_decay_mask": "all parameters decay; leave some out by oc.groups(tx, rules)",
        "consistent_rms": 'that of 0.2 is `scale="rms"`',
    },
    "nadam": {"nesterov": "without it this is oc.adam"},
    "nadamw": {"nesterov": "without it this is oc.adamw"},
    "sam": {
        "adv_optimizer": "the step uphill is along the gradient, of the length `rho`",
        "sync_period": WITHIN,
        "reset_state": WITHIN,
        "opaque_mode": WITHIN,
        "batch_axis_name": "let `grad_fn` take the mean over the devices",
    },
    "scale_by_adam": {"nesterov": "with it this is oc.scale_by_nadam"},
    "scale_by_factored_rms": {
        "step_offset": RESTART,
        "epsilon": "it is called `eps` here",
        "decay_rate_fn": "give `decay_rate` as a schedule, or a bound of the decay as `max_decay`",
    },
    "scale_by_galore": {"base_optimizer": OPTAX},
    "scale_by_sm3": {"b1": "let the link oc.ema(b1, debias=False) follow, as oc.sm3 does"},
    "sophia": {
        "update_interval": CURVATURE,
        "hessian_diagonal_fn": CURVATURE,
        "verbose": "count the entries at the threshold in the updates",
        "print_win_rate_every_n_steps": "count the entries at the threshold in the updates",
    },
} | dict.fromkeys(
    ("adopt", "scale_by_adopt"),
    {
        "clip_value_fn": "take three links, oc.scale_by_adopt(b1=0.0, use_clipping=False), oc.clip(schedule), "
        "oc.ema(b1, debias=False)"
    },
)


def elsewhere(function: str, argument: str) -> str | None:
    """Where an argument of optax's function is found here; None for one that optax does not have either."""
    place = OF.get(function, {}).get(argument) or EVERYWHERE.get(argument)
    return place if place and argument in (parameters(function) or {}) else None


def at_position(function: str, position: int) -> str | None:
    """Where the argument is found here that optax's function has at a position; None where the call fits neither."""
    names = list(parameters(function) or {})[position:]
    place = elsewhere(function, names[0]) if names else None
    return f"optax has {names[0]!r} there, {place}" if place else None


def parameters(function: str) -> Mapping[str, inspect.Parameter] | None:
    """The arguments of optax's function of this name; None where it has none."""
    # Not by getattr, with which optax warns of names that it has moved.
    made = {**vars(optax.contrib), **vars(optax)}.get(function)
    return inspect.signature(made).parameters if callable(made) else None
