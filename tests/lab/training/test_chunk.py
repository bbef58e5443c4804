import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small_runs

import optchain as oc
from optchain.lab.data.batches import batches
from optchain.lab.models import tables
from optchain.lab.models.network import convolve, kernel_initializer
from optchain.lab.runs import config
from optchain.lab.training.chunk import Setting, make_chunk
from optchain.lab.training.experiment import build
from optchain.lab.training.scoring import models


def experiment(tmp_path, *sets):
    return build(config.load(small_runs.small(tmp_path), list(sets)), "small.toml")


def chunked(built, lengths):
    chunk = make_chunk(built.task, built.parts)
    carry, logs = built.start(), []
    for steps in lengths:
        carry, log = chunk(
            carry, jax.device_put(built.task.splits["train"]), Setting(built.config.train.seed), steps=steps
        )
        logs.append(log)
    return carry, jax.tree.map(lambda *parts: np.concatenate(parts), *logs)


def test_a_chunk_equals_a_plain_python_loop(tmp_path):
    """The same steps one after the other, uncompiled, with optax's own update and apply_updates."""
    built = experiment(tmp_path)
    carry, logs = chunked(built, [8])
    plain, (inputs, targets, _) = built.start(), built.task.splits["train"]
    _, dropout, order = jax.random.split(jax.random.key(0), 3)
    params, stats, state, losses = plain["params"], plain["rest"], plain["opt_state"], []
    update = jax.jit(built.tx.update)
    for step in range(8):
        rows = np.asarray(batches(order, jnp.int32(32 * step), 1, 32, len(inputs))[0])

        def loss(params, step=step, rows=rows, stats=stats):
            rngs = {"dropout": jax.random.fold_in(jax.random.fold_in(dropout, step), 1)}
            variables = {"params": params, **stats}
            outputs, new = built.model.module.apply(
                variables, inputs[rows], train=True, rngs=rngs, mutable=["batch_stats"]
            )
            return built.task.loss.of(outputs, targets[rows]).mean(), new

        (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
        losses.append(float(value))
    np.testing.assert_allclose(logs["loss"], losses, rtol=1e-5)
    chex.assert_trees_all_close(carry["params"], params, rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(carry["rest"], stats, rtol=1e-4, atol=1e-5)
    assert int(carry["step"]) == 8 and int(oc.metrics(carry["opt_state"])["step"]) == 8


@pytest.mark.full
def test_the_cut_into_chunks_changes_nothing(tmp_path):
    built = experiment(tmp_path)
    one, logs = chunked(built, [24])
    two, parts = chunked(built, [7, 7, 10])
    chex.assert_trees_all_close(one, two, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(logs["loss"], parts["loss"], rtol=1e-6)


def test_the_logs_hold_the_metrics_of_every_step(tmp_path):
    built = experiment(tmp_path)
    _, logs = chunked(built, [6])
    rates = [float(oc.cosine(1e-2, 300)(step)) for step in range(6)]
    np.testing.assert_allclose(logs["optimizer"]["lr.learning_rate"], rates, rtol=1e-6)
    assert {"adam.out_norm", "lr.out_norm", "average.out_norm"} <= set(logs["optimizer"])


def test_models_are_the_parameters_and_their_average(tmp_path):
    built = experiment(tmp_path, "train.seed=1")
    found = models(chunked(built, [20])[0])
    assert list(found) == ["parameters", "average"]
    chex.assert_trees_all_equal_shapes(found["parameters"], found["average"])
    with pytest.raises(AssertionError):
        chex.assert_trees_all_close(found["parameters"], found["average"])


@pytest.mark.parametrize("size", [2, 3, 5])
def test_convolve_is_the_convolution_of_nn_conv(size):
    images = jax.random.normal(jax.random.key(0), (5, 8, 6, 3))
    kernel = jax.random.normal(jax.random.key(1), (size, size, 3, 4))
    expected = jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    chex.assert_trees_all_close(convolve(images, kernel), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "name, scale, deviation",
    [
        ("xavier", None, (2 / 600) ** 0.5),
        ("he", None, (2 / 200) ** 0.5),
        ("lecun", None, (1 / 200) ** 0.5),
        ("truncated_normal", 0.3, 0.3),
        ("uniform", 0.3, 0.3 / 3**0.5),
    ],
)
def test_initializers_have_their_scale(name, scale, deviation):
    table = tables.Network(initializer=name, initializer_scale=scale)
    kernel = kernel_initializer(table)(jax.random.key(0), (200, 400))
    assert float(kernel.std()) == pytest.approx(deviation, rel=0.15 if name == "truncated_normal" else 0.02)
    assert abs(float(kernel.mean())) < 0.01 * deviation + 1e-3
