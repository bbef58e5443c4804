"""Arrays of a state in the memory of the host, and on the device while a step computes with them."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import linear_call

MEMORIES = {"device": jax.memory.Space.Device, "pinned_host": jax.memory.Space.Host}


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def moved(x: jax.Array, here: str, there: str) -> jax.Array:
    """An array in another memory."""
    return jax.device_put(x, MEMORIES[there])


@moved.defjvp
def _moved_tangent(here: str, there: str, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    """JAX's own transpose of a move leaves the cotangent where it is, in the wrong memory."""
    move = lambda _, t: jax.device_put(t, MEMORIES[there])  # noqa: E731
    back = lambda _, t: jax.device_put(t, MEMORIES[here])  # noqa: E731
    return moved(*primals, here, there), linear_call(move, back, (), *tangents)


def away(state: Any, memory: str, min_size: int) -> Any:
    """A state whose arrays with axes and so many entries are in this memory."""
    return _each(lambda x: moved(x, "device", memory), state, memory, min_size)


def near(state: Any, memory: str, min_size: int) -> Any:
    """The same state on the device."""
    return _each(lambda x: moved(x, memory, "device"), state, memory, min_size)


def require_memory(memory: str) -> None:
    """Arrays can be put into this memory, or an error says what there is."""
    if memory == "device":
        return
    device = jax.local_devices()[0]
    kinds = [known.kind for known in device.addressable_memories()]
    if memory not in kinds:
        found = ", ".join(map(repr, kinds)) or "only the memory of the device"
        raise ValueError(f"precision: memory is {memory!r}; {device.device_kind} has {found}")
    with jax.ensure_compile_time_eval():
        kept = jax.device_put(jnp.zeros(()), MEMORIES[memory]).sharding.memory_kind
    if kept != memory:  # so do older versions of JAX on a CPU
        problem = f"JAX {jax.__version__} leaves arrays in {kept!r} on {device.device_kind}"
        raise ValueError(f"precision: memory is {memory!r}; {problem}: leave it out, or take a newer JAX")


def _each(move: Any, state: Any, memory: str, min_size: int) -> Any:
    if memory == "device":
        return state
    return jax.tree.map(lambda x: move(x) if x.ndim and x.size >= min_size else x, state)
