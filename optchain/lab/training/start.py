"""What is carried from step to step, before the first one."""

import functools

import jax
import jax.numpy as jnp

from optchain.lab.data.task import Task
from optchain.lab.models.gradients import ClientGradients
from optchain.lab.training import clients_kept
from optchain.lab.training.chunk import Build, Carry, Setting
from optchain.lab.training.keys import key_of_deal, keys_of_run
from optchain.lab.training.layout import ONE_DEVICE, Layout


def make_start(task: Task, build: Build, layout: Layout = ONE_DEVICE) -> jax.stages.Wrapped:
    """A compiled function `start(setting, given={})`: the carry before the first step, with given leaves by path."""

    # In one compiled call, so that a slot that begins as the parameter does not share its buffer: both are donated.
    @functools.partial(jax.jit, out_shardings=layout.carry)
    def start(setting: Setting, given: dict[str, jax.Array] | None = None) -> Carry:
        parts = build(setting.numbers)
        tx, first = parts.tx, jax.tree.map(lambda x: jnp.asarray(x[:1]), task.splits["train"].inputs)
        # Arrays, for an initializer may give a number of Python's.
        params, rest = jax.tree.map(jnp.asarray, parts.model.init(keys_of_run(setting.seed)[0], first, given))
        carry = {
            "params": params,
            "rest": rest,
            "opt_state": tx.init(layout.stepped(params)),
            "step": jnp.zeros((), jnp.int32),
            "examples": jnp.zeros((), jnp.int32),
            "batch": parts.batch.start(),
            "validation": jnp.full((), jnp.nan, jnp.float32),
        }
        if isinstance(parts.gradient, ClientGradients):
            carry["clients"] = clients_kept.start(parts.gradient, key_of_deal(setting.seed), task, params)
        # Weak types would change after the first step, and with them the type of the carry.
        return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), carry)

    return start
