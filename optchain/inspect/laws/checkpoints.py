"""Checkpoints: the state survives and continues to the bit."""

import io
import tempfile
from typing import Any

import jax
import numpy as np

from optchain.core.states import with_metrics, without_metrics
from optchain.inspect.laws.check import law
from optchain.inspect.laws.steps import compiled, gradients, optional, require_close


def _goes_on(tx: Any, params: Any, carry: Any, again: Any) -> None:
    grads = gradients(params, 2)
    expected = compiled(tx)(carry, grads)
    result = compiled(tx)((carry[0], with_metrics(again, tx.init(params))), grads)
    require_close("the result ", result, expected, 0, 0)


@law
def checkpoint_npz(tx: Any, params: Any) -> None:
    """The state survives an npz file and continues to the bit."""
    carry = compiled(tx)((params, tx.init(params)), gradients(params))
    saved, file = without_metrics(carry[1]), io.BytesIO()
    np.savez(file, **{jax.tree_util.keystr(path): x for path, x in jax.tree.leaves_with_path(saved)})
    file.seek(0)
    with np.load(file) as arrays:
        again = jax.tree.map_with_path(lambda path, _: arrays[jax.tree_util.keystr(path)], saved)
    _goes_on(tx, params, carry, again)


@law
def checkpoint_msgpack(tx: Any, params: Any) -> None:
    """The state survives Flax's msgpack and continues to the bit."""
    serialization = optional("flax.serialization")
    carry = compiled(tx)((params, tx.init(params)), gradients(params))
    saved = serialization.to_bytes(without_metrics(carry[1]))
    _goes_on(tx, params, carry, serialization.from_bytes(without_metrics(tx.init(params)), saved))


@law
def checkpoint_orbax(tx: Any, params: Any) -> None:
    """The state survives Orbax and continues to the bit."""
    ocp = optional("orbax.checkpoint")
    carry = compiled(tx)((params, tx.init(params)), gradients(params))
    with tempfile.TemporaryDirectory() as folder, ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(f"{folder}/state", without_metrics(carry[1]))
        checkpointer.wait_until_finished()
        template = jax.eval_shape(without_metrics, tx.init(params))
        _goes_on(tx, params, carry, checkpointer.restore(f"{folder}/state", template))
