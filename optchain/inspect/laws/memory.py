"""Memory: what a state takes, and that it may be donated."""

from typing import Any

import jax
import jax.numpy as jnp

from optchain.inspect.laws.check import Broken, Skipped, law
from optchain.inspect.laws.steps import bytes_of

MOST = 8  # numbers of state for each parameter


@law
def own_buffers(tx: Any, params: Any) -> None:
    """The first step may donate the parameters and the state of an eager `init`: no buffer stands in two places."""
    places: dict[int, str] = {}
    for path, x in jax.tree.leaves_with_path({"params": params, "state": tx.init(params)}):
        if isinstance(x, jax.Array) and x.size and not jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            place = places.setdefault(x.unsafe_buffer_pointer(), jax.tree_util.keystr(path))
            if place != jax.tree_util.keystr(path):
                raise Broken(f"{place} and {jax.tree_util.keystr(path)} are one buffer")


@law
def size_of_state(tx: Any, params: Any) -> None:
    """The state has at most 8 numbers for each parameter of a square matrix, and grows with the rows of a tall one."""
    del params
    try:
        square, tall, taller = (_numbers(tx, (n, m)) for n, m in ((64, 64), (2**15, 8), (2**16, 8)))
    except ValueError as error:
        raise Skipped(f"it does not take other parameters: {str(error).splitlines()[0]}") from None
    if square > MOST * 64 * 64 + 64:
        raise Broken(f"{square / 64**2:.3g} numbers for each parameter of a 64 x 64 matrix")
    if taller > 2.1 * tall + 64:
        raise Broken(
            f"the state of {2**16} x 8 is {taller / tall:.2g} times that of {2**15} x 8: {taller / 2**18:,.0f} MB"
        )


def _numbers(tx: Any, shape: tuple[int, ...]) -> float:
    """How many float32 numbers the state of one matrix takes the place of."""
    return bytes_of(jax.eval_shape(tx.init, {"kernel": jax.ShapeDtypeStruct(shape, jnp.float32)})) / 4
