"""In which precision a model computes, and what its backward pass keeps."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_runs

from optchain.lab.base.errors import InputError
from optchain.lab.models.computed import Computed
from optchain.lab.runs import config
from optchain.lab.training.experiment import build
from optchain.lab.training.program import Program

DEEP = ("model.hidden=[64, 64, 64, 64]", "model.norm='none'")


def built(tmp_path, *sets):
    return build(config.load(small_runs.small(tmp_path), list(sets)), "small.toml")


def ran(experiment, steps=20):
    program = Program(experiment)
    carry, logs, _ = program.run(experiment.config, program.start(experiment.config), steps)
    return carry, logs


@pytest.mark.parametrize("more", [(), ("train.freeze=['Dense_0/*']",), ("lora={rank=2}", "model.norm='none'")])
@pytest.mark.full
def test_bfloat16_is_within_the_model_alone(tmp_path, more):
    experiment = built(tmp_path, "train.compute='bfloat16'", *more)
    carry, logs = ran(experiment)
    floating = [x for x in jax.tree.leaves(carry) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert {x.dtype for x in floating} == {jnp.dtype(jnp.float32)}
    inputs = experiment.task.splits["train"].inputs[:8]
    apply = lambda p, r: experiment.model.apply(p, r, inputs)[0]  # noqa: E731
    assert apply(carry["params"], carry["rest"]).dtype == jnp.float32
    text = str(jax.make_jaxpr(apply)(carry["params"], carry["rest"]))
    products = [line for line in text.splitlines() if "dot_general" in line and "8," in line.split("=")[0]]
    assert products and all("bf16[8," in line.split("=")[0] for line in products)
    wide = ran(built(tmp_path, *more))[1]
    assert logs["loss"].dtype == jnp.float32
    np.testing.assert_allclose(logs["loss"], wide["loss"], rtol=0.05)
    assert not np.array_equal(logs["loss"], wide["loss"])


@pytest.mark.full
def test_remat_computes_the_same_and_keeps_less(tmp_path):
    """Between the passes only the inputs and the parameters are kept, none of the activations."""
    plain, again = (built(tmp_path, *DEEP, f"train.remat={word}") for word in ("false", "true"))
    assert isinstance(again.model, Computed)
    (a, logs), (b, others) = ran(plain), ran(again)
    chex.assert_trees_all_close(a["params"], b["params"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(logs["loss"], others["loss"], rtol=1e-5)
    start, inputs = plain.start(), plain.task.splits["train"].inputs[:200]

    def kept(experiment):
        """The bytes of what the backward pass takes from the forward pass."""
        key = jax.random.key(0)
        forward = lambda p: jax.vjp(lambda p: experiment.model.apply(p, {}, inputs, key, train=True)[0], p)[1]  # noqa: E731
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(jax.eval_shape(forward, start["params"])))

    assert kept(plain) > 2 * kept(again)


def test_what_cannot_be_is_named(tmp_path):
    with pytest.raises(InputError, match=r"train.compute: got 'bfloat'; did you mean 'bfloat16'"):
        built(tmp_path, "train.compute='bfloat'")
    small = ["task.examples=1200", "task.ids=80", "task.validation=200", "task.test=200", "train.steps=60"]
    for change in ("train.compute='bfloat16'", "train.remat=true"):
        resolved = config.load(small_runs.ROOT / "configs" / "embedding" / "adam.toml", [*small, change])
        with pytest.raises(InputError, match=f"{change.partition('=')[0]}: the gradients of touched rows"):
            build(resolved, "adam.toml")
