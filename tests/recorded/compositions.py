"""The recorded compositions: chains and wrappers around one another, as they are."""

from typing import Any

import jax.numpy as jnp

import optchain as oc
from recorded.runs import Case

TABLE = "text/embed/embedding"
LOOK_UPS = 48


def clipped_adamw() -> Any:
    """What most wrappers are put around."""
    return oc.chain(clip=oc.clip_by_global_norm(0.5), adamw=oc.adamw(1e-2, weight_decay=0.1))


def cautious_adamw() -> Any:
    """The same chain with `cautious` around the moments."""
    return oc.chain(
        clip=oc.clip_by_global_norm(0.5),
        adam=oc.cautious(oc.scale_by_adam()),
        decay=oc.add_decayed_weights(0.1),
        lr=oc.scale_by_learning_rate(1e-2),
    )


def overridden(t: Any, grads: Any, params: Any) -> dict[str, Any]:
    """Overrides of a number of the inner chain and, from step 12 on, of a schedule of the outer one."""
    rate = jnp.where(t < 12, 0.02 * 0.9**t, 0.003)
    return {"hyper": {"inner.adam.b1": 0.9 - 0.01 * t, "lr.learning_rate": rate}}


def weighed(t: Any, grads: Any, params: Any) -> dict[str, Any]:
    """Micro-batches of two sizes."""
    return {"weight": 1.0 + t % 2}


def one_nan(t: Any, grads: Any, params: Any) -> Any:
    """The gradients, not a number in one leaf at step 5."""
    grads["digits"]["out"]["bias"] = jnp.where(t == 5, jnp.nan, grads["digits"]["out"]["bias"])
    return grads


def looked_up(t: Any, grads: Any, params: Any) -> Any:
    """The gradient of the table as rows, some of them twice and some of them padding."""
    dense = grads["text"]["embed"]["embedding"]
    indices = (jnp.arange(LOOK_UPS) ** 2 + 5 * t) % (len(dense) + 4)
    values = dense.at[indices].get(mode="fill", fill_value=0)
    grads["text"]["embed"]["embedding"] = oc.RowGradient(indices, values, len(dense))
    return grads


def nested_chains() -> Any:
    """A chain within a chain, with a schedule and a norm to watch."""
    inner = oc.chain(adam=oc.scale_by_adam(b2=0.99), decay=oc.add_decayed_weights(0.1, mask=oc.is_kernel))
    rate = oc.warmup_cosine(peak=0.02, warmup=5, total=24)
    return oc.chain(clip=oc.clip_by_global_norm(0.5), inner=inner, lr=oc.scale_by_learning_rate(rate), watch=["inner"])


def grouped() -> Any:
    """Groups with factors, without a step, and with a transformation of their own."""
    rules = {
        "digits/conv/*": oc.FROZEN,
        "text/head/*": oc.sgd(0.1),
        "*/bias": {"weight_decay": 0.0, "learning_rate": 2.0},
        "text/*": {"learning_rate": 0.5},
        "*": {},
    }
    return oc.groups(oc.adamw(1e-2, weight_decay=0.1), rules)


def compositions() -> dict[str, Case]:
    """All of them by name; no name is that of an export."""
    tx = clipped_adamw()
    gradual = oc.gradual(begin=2, end=17, every=5)
    return {
        "nested chains": Case(nested_chains()),
        "nested chains, overridden": Case(nested_chains(), more=overridden),
        "groups of adamw": Case(grouped()),
        "guard of clipped adamw": Case(oc.guard(tx, max_norm=4.0, spike=3.0, warmup=4), ("value",), gradients=one_nan),
        "accumulate of clipped adamw": Case(oc.accumulate(tx, 3), more=weighed),
        "accumulate of a guard": Case(oc.accumulate(oc.guard(tx), 3), gradients=one_nan),
        "lookahead of clipped adamw": Case(oc.lookahead(tx, sync_period=5, slow_step_size=0.5)),
        "cautious in a chain": Case(cautious_adamw()),
        "precision of adamw": Case(
            oc.precision(oc.adamw(1e-2, weight_decay=0.1), params="kahan", slots="bfloat16"), dtype="bfloat16"
        ),
        "sparse adamw": Case(oc.sparse(oc.adamw(1e-2, weight_decay=0.1), 0.8, distribution="erk", schedule=gradual)),
        "rows of clipped adamw": Case(oc.rows(tx, tables=TABLE), gradients=looked_up),
        "schedule-free adamw": Case(oc.schedule_free_adamw(0.05, warmup_steps=5, weight_decay=0.1)),
        "average of clipped adamw": Case(
            oc.chain(opt=tx, average=oc.average_params(decay=0.9, debias=True, start=2.0))
        ),
    }
