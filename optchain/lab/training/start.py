"""What is carried from step to step, before the first one."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from optchain.lab.data.task import Task
from optchain.lab.models.gradients import ClientGradients, WorkerGradients
from optchain.lab.training import clients_kept
from optchain.lab.training.chunk import Build, Carry, Parts, Setting
from optchain.lab.training.keys import key_of_deal, keys_of_run
from optchain.lab.training.layout import ONE_DEVICE, Layout
from optchain.lab.training.local import none_open


def make_start(task: Task, build: Build, layout: Layout = ONE_DEVICE) -> jax.stages.Wrapped:
    """A compiled function `start(setting, given={})`: the carry before the first step, with given leaves by path."""

    # In one compiled call, so that a slot that begins as the parameter does not share its buffer: both are donated.
    @functools.partial(jax.jit, out_shardings=layout.carry)
    def start(setting: Setting, given: dict[str, jax.Array] | None = None) -> Carry:
        parts = build(setting.numbers)
        first = jax.tree.map(lambda x: jnp.asarray(x[:1]), task.splits["train"].inputs)
        # Arrays, for an initializer may give a number of Python's.
        params, rest = jax.tree.map(jnp.asarray, parts.model.init(keys_of_run(setting.seed)[0], first, given))
        carry = first_carry(parts, params, rest, layout)
        if isinstance(parts.gradient, ClientGradients):
            carry["clients"] = _strong(clients_kept.start(parts.gradient, key_of_deal(setting.seed), task, params))
        return carry

    return start


def first_carry(parts: Parts, params: Any, rest: Any, layout: Layout = ONE_DEVICE) -> Carry:
    """The carry before the first step from parameters and the rest of a model, but for what is kept of clients."""
    carry = {
        "params": params,
        "rest": rest,
        "opt_state": parts.tx.init(layout.stepped(params)),
        "step": jnp.zeros((), jnp.int32),
        "examples": jnp.zeros((), jnp.int32),
        "batch": parts.batch.start(),
        "validation": jnp.full((), jnp.nan, jnp.float32),
    }
    if isinstance(parts.gradient, WorkerGradients):
        carry["pieces"] = none_open()
    return _strong(carry)


def _strong(tree: Any) -> Any:
    """Arrays without weak types, which would change after the first step, and with them the type of the carry."""
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), tree)
